"""Kedro dataset of a detector."""

from pathlib import Path

from kedro_datasets._typing import JSONPreview

from glow_pipeline.datasets.previews import NOT_MADE, json_preview
from glow_pipeline.datasets.versioned import CopiedVersionDataset
from glow_pipeline.files import stored_versions
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.detector_file import read_detector, read_detector_record, write_detector


class GlowDetectorDataset(CopiedVersionDataset[Detector, Detector]):
    """A safetensors file with the detector's record in its header.

    Args:
        filepath: path or address of the .safetensors file.
        version, credentials, fs_args, metadata: as of `CopiedVersionDataset`.
    """

    _chosen: Path | Detector | None = None

    def choose(self, chosen: Path | Detector) -> None:
        """Load this file, or return this detector, instead of the newest version."""
        self._chosen = chosen

    @property
    def files(self) -> list[Path]:
        """The files of all versions, newest first."""
        return stored_versions(self.filepath) if self.is_local else [*map(self._fetched, self._get_versions())]

    @property
    def load_path(self) -> Path:
        """File that `load` would read."""
        return self._chosen if isinstance(self._chosen, Path) else self._fetched(self._get_load_path())

    def record(self) -> DetectorRecord:
        """Return the record without reading the arrays."""
        return self._chosen.record if isinstance(self._chosen, Detector) else read_detector_record(self.load_path)[0]

    def load(self) -> Detector:
        return self._chosen if isinstance(self._chosen, Detector) else read_detector(self.load_path)

    def save(self, data: Detector) -> None:
        with self._writing(self._get_save_path()) as path:
            write_detector(path, data)
        self._chosen = None

    def preview(self) -> JSONPreview:
        """Return what the detector is, for kedro viz."""
        if not self.exists() or isinstance(self._chosen, Detector):
            return NOT_MADE
        record, scores = read_detector_record(self.load_path)
        return json_preview(
            {
                "version": record.version,
                "model": record.model_session,
                "fitted on images": record.n_validation,
                "calibrated with images": record.n_calibration,
                "scores": scores,
                "draws of the noise": record.draws,
                "codecs": record.codecs,
                "command": record.provenance.command,
                "commit": record.provenance.git_commit,
                "MLflow run": record.provenance.mlflow_run_id,
            }
        )

    def _exists(self) -> bool:
        if self._chosen is not None:
            return isinstance(self._chosen, Detector) or self._chosen.is_file()
        return self._is_file(self._get_load_path())

"""Kedro dataset of a detector."""

from pathlib import Path

from kedro_datasets._typing import JSONPreview

from glow_pipeline.datasets.previews import NOT_MADE, json_preview
from glow_pipeline.datasets.versioned import LocalVersionDataset
from glow_pipeline.files import stored_versions
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.detector_file import read_detector, read_detector_record, write_detector


class GlowDetectorDataset(LocalVersionDataset[Detector, Detector]):
    """A safetensors file with the detector's record in its header.

    Args:
        filepath: path of the .safetensors file.
        version: set by `versioned: true`.
        metadata: data for plugins.
    """

    _chosen: Path | Detector | None = None

    def choose(self, chosen: Path | Detector) -> None:
        """Load this file, or return this detector, instead of the newest version."""
        self._chosen = chosen

    @property
    def filepath(self) -> Path:
        """Folder of all versions."""
        return Path(self._filepath)

    @property
    def files(self) -> list[Path]:
        """The files of all versions, newest first."""
        return stored_versions(self.filepath)

    @property
    def load_path(self) -> Path:
        """File that `load` would read."""
        return self._chosen if isinstance(self._chosen, Path) else Path(self._get_load_path())

    def record(self) -> DetectorRecord:
        """Return the record without reading the arrays."""
        return self._chosen.record if isinstance(self._chosen, Detector) else read_detector_record(self.load_path)[0]

    def load(self) -> Detector:
        return self._chosen if isinstance(self._chosen, Detector) else read_detector(self.load_path)

    def save(self, data: Detector) -> None:
        write_detector(Path(self._get_save_path()), data)
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
        return isinstance(self._chosen, Detector) or self.load_path.is_file()

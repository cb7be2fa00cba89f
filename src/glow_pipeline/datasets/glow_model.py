"""Kedro dataset of a trained model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kedro.io import Version
from kedro_datasets._typing import JSONPreview

from glow_pipeline.datasets.previews import NOT_MADE, json_preview
from glow_pipeline.datasets.versioned import CopiedVersionDataset
from glow_pipeline.files import typed_path
from glow_pipeline.training.model_file import TrainedGlow, read_model, read_record, write_model
from glow_pipeline.training.records import ModelRecord


class GlowModelDataset(CopiedVersionDataset[TrainedGlow, TrainedGlow]):
    """A safetensors file with the model's record in its header.

    Args:
        filepath: path or address of the .safetensors file.
        version, credentials, fs_args, metadata: as of `CopiedVersionDataset`.
    """

    _file: Path | None = None

    def choose(self, model: str) -> None:
        """Load this model instead of the newest one.

        Args:
            model: one of the versions, or the path of a file, which may be of another project or machine.
        """
        if is_file_name(model):
            self._file = typed_path(model)
        else:
            self._version = Version(model, self.resolve_save_version())

    @property
    def why_this_one(self) -> str:
        """Reason why `load` reads this one of several models."""
        if self._saved_version is not None:
            return "just trained"
        newest = next(iter(self._get_versions()), None)
        return "the newest" if newest is not None and self._local(newest) == self.load_path else "as chosen"

    @property
    def load_path(self) -> Path:
        """File that `load` would read."""
        return self._file or self._fetched(self._get_load_path())

    @contextmanager
    def editing_folder(self, last: str) -> Iterator[Path]:
        """Yield the folder of the file that `load` would read, to write files beside it.

        Args:
            last: name of the file that is uploaded last, if the model is in a bucket.
        """
        if self._file is not None:
            yield self._file.parent
            return
        with self._editing(self._get_load_path().parent, last) as folder:
            yield folder

    def record(self) -> ModelRecord:
        """Return the model's record without reading its weights."""
        return read_record(self.load_path)

    def load(self) -> TrainedGlow:
        return read_model(self.load_path)

    def save(self, data: TrainedGlow) -> None:
        with self._writing(self._get_save_path()) as path:
            write_model(path, data.record, data.flow.state_dict(), data.trained_on, data.calibration)

    def preview(self) -> JSONPreview:
        """Return what the model is, for kedro viz."""
        if not self.exists():
            return NOT_MADE
        record = self.record()
        table, made_in = record.train_table, record.provenance
        return json_preview(
            {
                "dataset": record.dataset,
                "images": record.image_format.size_and_bits,
                "training images": table.count,
                "classes": record.num_classes,
                "bits/dim on validation images": record.val_bits_per_dim,
                "epoch": f"{record.best_epoch} of {record.epochs}",
                "steps": record.steps,
                "device": record.device,
                "precision": record.precision,
                "flow": record.flow,
                "version": made_in.kedro_session,
                "command": made_in.command,
                "commit": made_in.git_commit,
                "MLflow run": made_in.mlflow_run_id,
            }
        )

    def _exists(self) -> bool:
        return self._is_file(self._get_load_path()) if self._file is None else self._file.is_file()


def is_file_name(model: str) -> bool:
    """Return whether this names a file, and not a version."""
    return model.endswith(".safetensors") or Path(model).name != model

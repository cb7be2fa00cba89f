"""Kedro dataset of the model that a running training saves again and again."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from kedro.io import AbstractVersionedDataset, DatasetError, Version

from glow_pipeline.training.fit import Weights
from glow_pipeline.training.stored import ModelRecord, write_model


@dataclass(frozen=True)
class CheckpointSlot:
    """A place for the best model so far; each write replaces the one before, whole."""

    path: Path

    def write(self, record: ModelRecord, weights: Weights) -> None:
        write_model(self.path, record, weights)


class CheckpointDataset(AbstractVersionedDataset[NoReturn, CheckpointSlot]):
    """Loads a slot to write to, under the version of the present run.

    A node can save its outputs only when it ends. Training must save before, or a kill would lose hours.

    Args:
        filepath: of the .safetensors file.
        version: set by `versioned: true`.
        metadata: for plugins.
    """

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.metadata = metadata
        super().__init__(PurePosixPath(filepath), version)

    def load(self) -> CheckpointSlot:
        return CheckpointSlot(Path(self._get_save_path()))

    def save(self, data: NoReturn) -> None:  # noqa: ARG002
        raise DatasetError(f"{self._filepath}: load the slot and write to that")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}

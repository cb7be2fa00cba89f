"""Kedro dataset of a folder that a node reads and writes by itself."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from glow_pipeline.datasets.places import local_path


class FolderDataset(AbstractDataset[NoReturn, Path]):
    """The absolute path of a folder, whatever the working directory is.

    Args:
        filepath: path of the folder.
        metadata: data for plugins.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(local_path(filepath))
        self.metadata = metadata

    def load(self) -> Path:
        return self._filepath

    def save(self, data: NoReturn) -> None:  # noqa: ARG002
        raise DatasetError(f"{self._filepath}: load the path and write into that folder")

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}

"""Kedro dataset of a folder of files that are too many for memory."""

from pathlib import Path
from typing import Protocol

from kedro_datasets._typing import ImagePreview

from glow_pipeline.datasets.previews import NOT_MADE, stacked_preview
from glow_pipeline.datasets.versioned import LocalVersionDataset
from glow_pipeline.files import written_whole

SHOWN = 4  # pictures


class FolderWriter(Protocol):
    """Writes files when it is saved."""

    def write(self, folder: Path) -> None:
        """Make this folder and write the files into it."""


class WrittenFolderDataset(LocalVersionDataset[FolderWriter, Path]):
    """A folder, complete or absent, that a `FolderWriter` writes when it is saved; its path is loaded.

    Args:
        filepath: path of the folder.
        version: set by `versioned: true`.
        metadata: data for plugins.
    """

    def save(self, data: FolderWriter) -> None:
        with written_whole(Path(self._get_save_path())) as folder:
            data.write(folder)

    def load(self) -> Path:
        return Path(self._get_load_path())

    def preview(self) -> ImagePreview:
        """Return the first pictures in the folder below each other, for kedro viz."""
        pictures = sorted(self.load().glob("*.png"))[:SHOWN] if self.exists() else []
        return stacked_preview(pictures) if pictures else NOT_MADE

    def _exists(self) -> bool:
        return Path(self._get_load_path()).is_dir()

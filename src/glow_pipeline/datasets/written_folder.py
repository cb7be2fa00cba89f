"""Kedro dataset of a folder of files that are too many for memory."""

from pathlib import Path
from typing import Protocol

from kedro.io import DatasetError
from kedro_datasets._typing import ImagePreview

from glow_pipeline.datasets.previews import NOT_MADE, stacked_preview
from glow_pipeline.datasets.versioned import CopiedVersionDataset
from glow_pipeline.files import written_whole

SHOWN = 4  # pictures
COMPLETE = ".complete"  # uploaded last: a bucket has no folder that appears at once


class FolderWriter(Protocol):
    """Writes files when it is saved."""

    def write(self, folder: Path) -> None:
        """Make this folder and write the files into it."""


class WrittenFolderDataset(CopiedVersionDataset[FolderWriter, Path]):
    """A folder, complete or absent, that a `FolderWriter` writes when it is saved; its path is loaded.

    Args:
        filepath: path or address of the folder.
        version, credentials, fs_args, metadata: as of `CopiedVersionDataset`.
    """

    def save(self, data: FolderWriter) -> None:
        path = self._get_save_path()
        local = self._local(path)
        with written_whole(local) as folder:
            data.write(folder)
        if not self.is_local:
            for file in sorted(each for each in local.rglob("*") if each.is_file()):
                self._fs.put_file(str(file), str(path / file.relative_to(local).as_posix()))
            (local / COMPLETE).touch()
            self._fs.put_file(str(local / COMPLETE), str(path / COMPLETE))

    def load(self) -> Path:
        path = self._get_load_path()
        local = self._local(path)
        if not self.is_local and not local.is_dir():
            try:
                with written_whole(local) as folder:
                    self._fs.get(str(path), str(folder))
                    if not (folder / COMPLETE).is_file():
                        raise FileNotFoundError(f"{path}/{COMPLETE}")
            except FileNotFoundError:
                raise DatasetError(f"{self._fs.address(path)}: is not there any more; load another version") from None
            except OSError:
                if not local.is_dir():  # else another process has fetched it meanwhile
                    raise
        return local

    def _get_versions(self) -> list[str]:
        if self.is_local:
            return super()._get_versions()
        found = self._fs.glob(f"{self._get_versioned_path('*')}/{COMPLETE}")
        return sorted((path.removesuffix(f"/{COMPLETE}") for path in found), reverse=True)

    def preview(self) -> ImagePreview:
        """Return the first pictures in the folder below each other, for kedro viz."""
        pictures = sorted(self.load().glob("*.png"))[:SHOWN] if self.exists() else []
        return stacked_preview(pictures) if pictures else NOT_MADE

    def _exists(self) -> bool:
        path = self._get_load_path()
        return Path(path).is_dir() if self.is_local else self._fs.isfile(f"{path}/{COMPLETE}")

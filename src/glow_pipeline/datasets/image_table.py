"""Kedro dataset of an image table."""

from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractVersionedDataset, DatasetError, Version

from glow_pipeline.files import link_or_copy, written_whole
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.images.table import ImageTable, PlannedTable, TableRecord


class ImageTableDataset(AbstractVersionedDataset[PlannedTable, ImageTable]):
    """Saves a plan, loads a table.

    The folder is `<parent of filepath>/<image spec>/<name of filepath>/<version>/`, so that tables of two
    sizes never share a newest version. Which spec that is comes from `identify`, at the start of a run.
    A plan whose record equals the newest version's is not carried out again: its files get a second name.

    Args:
        filepath: where the tables of one source and split lie.
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
        self._base = PurePosixPath(filepath)
        self._identified = False
        self.metadata = metadata
        super().__init__(self._base, version)

    def identify(self, spec: ImageSpec) -> None:
        """Say which images of the source are meant."""
        self._filepath = self._base.parent / spec.key / self._base.name
        self._identified = True
        self._clear_version_cache()

    def load(self) -> ImageTable:
        self._check_identified()
        return ImageTable(Path(self._get_load_path()))

    def save(self, data: PlannedTable) -> None:
        self._check_identified()
        existing = self._newest_equal_to(data.record)
        with written_whole(Path(self._get_save_path())) as folder:
            if existing is None:
                data.write(folder)
            else:
                folder.mkdir()
                for file in existing.iterdir():
                    link_or_copy(file, folder / file.name)

    def _newest_equal_to(self, record: TableRecord) -> Path | None:
        for version in self._get_versions():
            return Path(version) if ImageTable(Path(version)).record == record else None
        return None

    def _check_identified(self) -> None:
        if not self._identified:
            raise DatasetError(f"{self._base}: no image spec was given; is ImageSpecHook in settings.HOOKS?")

    def _exists(self) -> bool:
        return self._identified and Path(self._get_load_path()).is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}

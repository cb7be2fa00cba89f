"""Kedro dataset of an image table."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout
from kedro.io import DatasetError
from kedro_datasets._typing import ImagePreview
from pydantic import ValidationError

from glow_pipeline.datasets.previews import NOT_MADE, figure_preview
from glow_pipeline.datasets.table_figure import table_figure
from glow_pipeline.datasets.versioned import LocalVersionDataset
from glow_pipeline.files import written_whole
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.table import ImageTable, TableOrigin
from glow_pipeline.images.table_writer import TableWriter

logger = logging.getLogger(__name__)


class ImageTableDataset(LocalVersionDataset[TableWriter, ImageTable]):
    """A versioned table: a `TableWriter` is saved, an `ImageTable` is loaded.

    The folder is `<parent of filepath>/<image format>/<name of filepath>/<version>/`, so that tables of two
    sizes never share a newest version. `identify` sets the format at the start of a run.
    Where a version of the same origin exists, the new one links its files, and nothing is decoded.

    Attributes:
        lists_both_splits: whether an error lists the unreadable files of training and of test images together.

    Args:
        filepath: path of the tables of one source and split.
        version: set by `versioned: true`.
        metadata: data for plugins.
    """

    lists_both_splits = False
    _base: PurePosixPath | None = None  # the path without the image format; None: no format was given

    def identify(self, image_format: ImageFormat) -> None:
        """Set the image format, which is part of the path."""
        base = self._base = self._base or self._filepath
        self._filepath = base.parent / image_format.key / base.name
        self._clear_version_cache()

    def load(self) -> ImageTable:
        self._check_identified()
        return ImageTable(Path(self._get_load_path()))

    def save(self, data: TableWriter) -> None:
        self._check_identified()
        tables = Path(self._filepath)
        tables.mkdir(parents=True, exist_ok=True)
        with self._alone_in(tables):
            for leftover in tables.glob(f"*/.*.{tables.name}"):  # of a process that was killed
                shutil.rmtree(leftover)
            existing = self._equal_to(data.origin)
            path = Path(self._get_save_path())
            with written_whole(path) as folder:
                if existing is not None:
                    data.link(existing, folder)
                else:
                    (data if self.lists_both_splits else replace(data, other_split=None)).write(folder)
        ImageTable(path).record.report(logger)

    @contextmanager
    def _alone_in(self, tables: Path) -> Iterator[None]:
        """Lock the folder: of two runs that need the same table the second waits and links instead of decoding."""
        lock = FileLock(tables / ".lock")
        try:
            lock.acquire(timeout=1)
        except Timeout:
            logger.info("waiting for another process that writes %s", tables)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _equal_to(self, origin: TableOrigin) -> ImageTable | None:
        """Return a version that was made from the same files in the same way; None if there is none."""
        for version in self._get_versions():
            try:
                table = ImageTable(Path(version))
                if table.record.makes_the_same(origin):
                    return table
            except (FileNotFoundError, ValidationError):  # edited, or of another record format
                logger.info("%s: its record cannot be used; the table is passed over", version)
        return None

    def preview(self) -> ImagePreview:
        """Return some of the images, with the number of all, for kedro viz."""
        return figure_preview(table_figure(self.load())) if self.exists() else NOT_MADE

    def _check_identified(self) -> None:
        if self._base is None:
            raise DatasetError(f"{self._filepath}: no image format was given; is RunHook in settings.HOOKS?")

    def _exists(self) -> bool:
        return self._base is not None and Path(self._get_load_path()).is_dir()

"""Kedro dataset of an image table."""

import logging
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from kedro.io import DatasetError
from kedro_datasets._typing import ImagePreview
from pydantic import ValidationError

from glow_pipeline.datasets.previews import NOT_MADE, figure_preview
from glow_pipeline.datasets.table_figure import table_figure
from glow_pipeline.datasets.versioned import CopiedVersionDataset
from glow_pipeline.errors import GlowPipelineError, HelperFinished
from glow_pipeline.files import locked, written_whole
from glow_pipeline.images.bucket_tables import BY_ORIGIN, VERSION_FILE, BucketTables, read_table, write_table
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.ingest_parts import IngestParts, images_of_part, scratch_of_machine
from glow_pipeline.images.table import ImageTable, TableOrigin
from glow_pipeline.images.table_commit import commit
from glow_pipeline.images.table_files import AGREED, SCRATCH, UNFINISHED
from glow_pipeline.images.table_writer import TableWriter
from glow_pipeline.stores import FolderStore
from glow_pipeline.workers.array import describe_help
from glow_pipeline.workers.choice import Workers
from glow_pipeline.workers.engines import finish

logger = logging.getLogger(__name__)
STALE = 3600  # seconds without a written chunk, after which a process that writes a part is dead
PROCESSES = Path("/proc")  # of this machine, where it shows them


class ImageTableDataset(CopiedVersionDataset[TableWriter, ImageTable]):
    """A versioned table: a `TableWriter` is saved, an `ImageTable` is loaded.

    The folder is `<parent of filepath>/<image format>/<name of filepath>/<version>/`, so that tables of two
    sizes never share a newest version. `identify` sets the format at the start of a run.
    Where a version of the same origin exists, the new one links its files, and nothing is decoded.

    A table of several parts is made in a hidden folder `.parts-<origin>-<images of a part>` beside the versions, where
    a later command finds the parts that are stored. With `workers.engine=array` a command may leave parts to others:
    then the table is pending, and who wants to load it has nothing more to do.

    In a bucket a version is a small file that names the folder of the table's files, `<parent of filepath>/<image
    format>/by-origin/...`; an `ImageTable` of it copies files of images to a local disk as it reads them.

    Attributes:
        lists_both_splits: whether an error lists the unreadable files of training and of test images together.
        workers: who makes the parts.
        pending: what this run has done for a table of which parts are missing; None for a complete one.

    Args:
        filepath: path or address of the tables of one source and split.
        version, credentials, fs_args, metadata: as of `CopiedVersionDataset`.
    """

    lists_both_splits = False
    workers = Workers()
    pending: str | None = None
    _base: PurePosixPath | None = None  # the path without the image format; None: no format was given

    def identify(self, image_format: ImageFormat) -> None:
        """Set the image format, which is part of the path."""
        base = self._base = self._base or self._filepath
        self._filepath = base.parent / image_format.key / base.name
        self._clear_version_cache()

    def load(self) -> ImageTable:
        self._check_identified()
        if self.pending is not None:
            raise HelperFinished
        path = self._get_load_path()
        if self.is_local:
            return ImageTable(Path(path))
        if (stored := read_table(self._fs.address(path / VERSION_FILE))) is None:
            raise DatasetError(f"{self._fs.address(path)}: there is no table")
        return self._in_bucket().open(stored)

    def save(self, data: TableWriter) -> None:
        self._check_identified()
        if not self.lists_both_splits or self.workers.engine == "array":  # a command of several reads its share alone
            data = replace(data, other_split=None)
        if not self.is_local:
            self._save_in_bucket(data, self._get_save_path())
            return
        path, tables = Path(self._get_save_path()), Path(self._filepath)
        tables.mkdir(parents=True, exist_ok=True)
        if self.workers.engine == "array":
            self.pending = self._save_share(data, tables, path)
        else:
            self.pending = None
            with self._alone_in(tables):
                if not self._linked(data, tables, path):
                    self._make(data, tables, path)
        if self.pending is None:
            ImageTable(path).record.report(logger)
        else:
            logger.info("%s", self.pending)

    def _save_in_bucket(self, data: TableWriter, path: PurePosixPath) -> None:
        """Make the table, or this command's share of it, and the version that names it. Nobody is waited for."""
        tables, shared = self._in_bucket(), self.workers.engine == "array"
        found, self.pending = tables.find(data.origin), None
        if found is None:
            of_part = images_of_part(data, self.workers, len(data.images.rows))
            agreed = tables.agreed(data.origin) if shared else None
            work = IngestParts(data, tables.parts(data.origin, of_part), of_part, agreed)
            self._compute(work)
            if shared and work.missing():
                self.pending = describe_help(work, self.workers.of)
                logger.info("%s", self.pending)
                return
            found = tables.find(data.origin) or tables.commit(work)
        version = found.of_origin(data.origin, data.passed_over)
        write_table(self._fs.address(path / VERSION_FILE), version)
        if tables.find(data.origin) is None:
            self._fs.address(path).parent.delete()
            raise GlowPipelineError(
                f"{self._fs.address(path)}: the table's files were removed meanwhile; type the same command again"
            )
        version.record.report(logger)

    def _in_bucket(self) -> BucketTables:
        folder = self._filepath.parent / BY_ORIGIN
        return BucketTables(self._fs.address(folder), self._local(folder))

    def _make(self, data: TableWriter, tables: Path, path: Path) -> None:
        """Make the table here. A small one that nobody has started is written at once."""
        work = self._work(data, tables)
        if len(work.sizes) == 1 and not work.store.names() and self.workers.engine == "processes":
            with written_whole(path) as folder:
                data.write(folder)
        else:
            self._compute(work, tables)
            commit(work, path)
        self._forget_parts(data, tables)

    def _save_share(self, data: TableWriter, tables: Path, path: Path) -> str | None:
        """Do this command's share while others do theirs; who sees the last part stored makes the table of them.

        Returns:
            What was done, if parts are missing.
        """
        with self._alone_in(tables):
            if self._linked(data, tables, path):
                return None
        work = replace(self._work(data, tables), agreed=self._agreed(data, tables))
        self._compute(work, tables)
        with self._alone_in(tables):
            if self._linked(data, tables, path):
                return None
            if work.missing():
                return describe_help(work, self.workers.of)
            commit(work, path)
            self._forget_parts(data, tables)
        return None

    def _work(self, data: TableWriter, tables: Path) -> IngestParts:
        """Return the work, which resumes what others have started unless the user has typed another size of a part."""
        start = f"{UNFINISHED}{data.origin.digest()}-"
        stores = (
            [FolderStore(folder) for folder in tables.glob(f"{start}*")] if self.workers.part_images is None else []
        )
        if stores:
            fullest = max(stores, key=lambda store: len(store.names()))
            return IngestParts(data, fullest, int(fullest.path.name.removeprefix(start)))
        of_part = images_of_part(data, self.workers, len(data.images.rows))
        return IngestParts(data, FolderStore(tables / f"{start}{of_part}"), of_part)

    def _agreed(self, data: TableWriter, tables: Path) -> FolderStore:
        return FolderStore(tables / f"{AGREED}{data.origin.digest(with_libraries=False)}")

    def _compute(self, work: IngestParts, disk: Path | None = None) -> None:
        missing = work.missing()
        if disk is not None:
            work.writer.check_space(disk, sum(work.sizes[part] for part in missing))
        if 0 < len(missing) < len(work.sizes):
            logger.info(
                "%s: %d of %d parts are stored already", work.title, len(work.sizes) - len(missing), len(work.sizes)
            )
        finish(work, self.workers.engine, self.workers.of)

    def _linked(self, data: TableWriter, tables: Path, path: Path) -> bool:
        """Link a version of the same origin, if there is one; delete what killed processes have left."""
        stale = [folder for folder in tables.glob(f"{SCRATCH}*") if _is_stale(folder)]
        for leftover in (*tables.glob(f"*/.*.{tables.name}"), *tables.glob(f".*.{UNFINISHED}*"), *stale):
            shutil.rmtree(leftover, ignore_errors=True)
        existing = self._equal_to(data.origin)
        if existing is None:
            return False
        with written_whole(path) as folder:
            data.link(existing, folder)
        self._forget_parts(data, tables)
        return True

    def _forget_parts(self, data: TableWriter, tables: Path) -> None:
        """Delete parts of a table that is there: of another size, or left by a process that was killed at its end."""
        for unfinished in tables.glob(f"{UNFINISHED}{data.origin.digest()}-*"):
            FolderStore(unfinished).delete()
        self._agreed(data, tables).delete()

    @contextmanager
    def _alone_in(self, tables: Path) -> Iterator[None]:
        """Lock the folder: of two runs that need the same table the second waits and links instead of decoding."""
        with locked(tables / ".lock", f"waiting for another process that writes {tables}"):
            yield

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
        if self._base is None:
            return False
        path = self._get_load_path()
        return Path(path).is_dir() if self.is_local else self._fs.isfile(str(path / VERSION_FILE))


def _is_stale(folder: Path) -> bool:
    """Return whether the process that wrote a part in this folder is dead, or has written nothing for long."""
    try:
        newest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except FileNotFoundError:  # its process has just finished
        return False
    name = re.fullmatch(rf"{re.escape(scratch_of_machine())}(\d+)-\w+", folder.name)
    is_dead = name is not None and PROCESSES.is_dir() and not (PROCESSES / name[1]).exists()
    return is_dead or time.time() - newest > STALE

"""An image table made in parts: ranges of the chosen rows, each decoded and stored by whoever comes to it."""

import json
import logging
import math
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from importlib.metadata import version
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.images.images_file import ImageCounts, ImagesFile
from glow_pipeline.images.sources.source import EncodedSplit
from glow_pipeline.images.split_images import SplitImages
from glow_pipeline.images.table_files import SCRATCH, images_file
from glow_pipeline.images.table_writer import TableWriter
from glow_pipeline.images.unreadable_files import UnreadableFiles
from glow_pipeline.stores import Store
from glow_pipeline.workers.array import place
from glow_pipeline.workers.choice import Workers
from glow_pipeline.workers.part_work import Seat

if TYPE_CHECKING:
    import pyarrow as pa

LABEL, CONTENT_HASH, NAME = "label", "content", "name"  # columns of a part's rows
PART_BYTES = 2**28  # of images
SHARED_PARTS = 64  # where commands or a cluster share the work
SHARED_EACH = 4  # parts of a command at least: one that is killed loses at most a quarter of its share
SHARED_LEAST = 2**11  # images of a part, for less it does not pay to give it away
MADE_WITH = "made_with.json"

logger = logging.getLogger(__name__)


class PartRecord(ImageCounts):
    """Facts of a stored part; written when its other files are there.

    Attributes:
        sha256: of its file of images.
        unreadable: name -> reason, of files that were left out.
    """

    sha256: str
    unreadable: dict[str, str]


def images_of_part(writer: TableWriter, workers: Workers, count: int) -> int:
    """Return the number of images of a part: about 256 MiB, less where many shall have some each.

    It is the same for all commands that share a work, and for a cluster of any size.

    Args:
        writer: of the table.
        workers: the user's choice.
        count: images of the table.

    Raises:
        GlowPipelineError: it is unknown how many commands share the work.
    """
    if workers.part_images is not None:
        return workers.part_images
    most = max(1, PART_BYTES // math.prod(writer.origin.image_format.shape))
    if workers.engine == "processes":
        return most
    commands = place(workers.of)[1] if workers.engine == "array" else 1
    parts = max(SHARED_PARTS, SHARED_EACH * commands)
    return min(most, max(SHARED_LEAST, -(-count // parts)))


def environment_here() -> dict[str, str]:
    """Return what prepared pixels depend on besides the image and its format."""
    return {"torch": version("torch"), "pillow": version("pillow"), "machine": platform.machine()}


@dataclass(frozen=True)
class IngestParts:
    """The work of making a table in parts; a `workers.part_work.PartWork`.

    Part 42 is stored as `images-00042.npy`, `rows-00042.parquet` (label, content hash and, of files, name of each
    image) and, last, `00042.json`, a `PartRecord`.

    Attributes:
        writer: of the table.
        store: where finished parts are.
        part_images: images of a part; the same for all who share the work.
        agreed: where commands that do not talk to each other leave what they make the table with; None: one command
            makes it, and says so to its workers.
        environment: of the command that gives out the work.
    """

    writer: TableWriter
    store: Store
    part_images: int
    agreed: Store | None = None
    environment: Mapping[str, str] = field(default_factory=environment_here)

    @property
    def images(self) -> SplitImages:
        """The opened split."""
        return self.writer.images

    @property
    def title(self) -> str:
        return f"ingest {self.writer.origin.title}"

    @property
    def uses_gpu(self) -> bool:
        return False

    @cached_property
    def sizes(self) -> Sequence[int]:
        count = len(self.images.rows)
        return [min(self.part_images, count - start) for start in range(0, count, self.part_images)]

    def missing(self) -> list[int]:
        names = self.store.names()
        return [part for part in range(len(self.sizes)) if record_file(part) not in names]

    def record(self, part: int) -> PartRecord:
        """Return what is known of a stored part."""
        return PartRecord.model_validate_json(self.store.read(record_file(part)))

    def rows(self, part: int) -> "pa.Table":
        """Return label, content hash and name of each image of a stored part."""
        import pyarrow as pa
        from pyarrow import parquet

        return parquet.read_table(pa.BufferReader(self.store.read(rows_file(part))), use_threads=False)

    def run(self, parts: Sequence[int], seat: Seat) -> Iterator[int]:
        """Decode, prepare and store these parts, in order, in one pass over the source.

        A part with unreadable files is not stored unless these are skipped.

        Raises:
            GlowPipelineError: files are unreadable, this machine has other libraries than the others, or the disk is
                full.
        """
        self._check_environment()
        images = self.images if seat.of == 1 else self.images.alone()
        ranges = [images.rows[part * self.part_images : (part + 1) * self.part_images] for part in parts]
        stop, unreadable = self.writer.origin.on_unreadable == "stop", UnreadableFiles()
        for position, chunks in groupby(images.prepared_parts(ranges), itemgetter(0)):
            part = parts[position]
            with self._scratch_folder() as folder:
                file = ImagesFile(
                    folder / "images.npy", self.writer.origin.image_format, self.sizes[part], part_of_several=True
                )
                with file:
                    for _, chunk in chunks:
                        file.add(chunk)
                        unreadable.add(chunk.unreadable)
                        if self.writer.stops_at(unreadable):
                            self.writer.check_unreadable(0, unreadable, unreadable.count)
                        yield len(chunk.rows) + len(chunk.unreadable)
                if not (stop and file.unreadable):
                    self._store(part, file, folder)
        unreadable.log_rest(self.writer.origin.title)
        if stop:
            self.writer.check_unreadable(0, unreadable, unreadable.count)

    def _store(self, part: int, file: ImagesFile, folder: Path) -> None:
        """Store a part's files, of which the last one says that it is complete."""
        import pyarrow as pa
        from pyarrow import parquet

        columns = {LABEL: self.images.labels[file.rows], CONTENT_HASH: file.hashes}
        if (names := self.images.names(file.rows)) is not None:
            columns[NAME] = pa.array(names, pa.string())
        parquet.write_table(pa.table(columns), folder / "rows.parquet", compression="zstd")
        counts = file.counts(self.images.first_own)
        record = PartRecord(**dict(counts), sha256=file.sha256, unreadable=file.unreadable)
        (folder / "record.json").write_text(record.model_dump_json(), encoding="utf-8")
        try:
            self.store.put(images_file(part), folder / "images.npy")
            self.store.put(rows_file(part), folder / "rows.parquet")
            self.store.put(record_file(part), folder / "record.json")
        except FileNotFoundError as problem:  # another command has made the table meanwhile, and moved or deleted parts
            logger.info("%s: part %d is not stored, its place is gone (%s)", self.title, part, first_line(problem))

    @contextmanager
    def _scratch_folder(self) -> Iterator[Path]:
        """Yield a local folder for the block: beside the store, which others may move, if that is on a disk."""
        disk = None if self.store.folder is None else self.store.folder.parent
        if disk is not None:
            disk.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(
                prefix=f"{scratch_of_machine()}{os.getpid()}-", dir=disk, ignore_cleanup_errors=True
            ) as folder,
            self.writer.full_disk_in_one_line(disk or Path(folder).parent),
        ):
            yield Path(folder)

    def _check_environment(self) -> None:
        """Check that this process prepares images as those that make the other parts.

        Raises:
            GlowPipelineError: it has another version of a library, or another kind of CPU.
        """
        here, others = environment_here(), self.environment
        if self.agreed is not None:
            if MADE_WITH not in self.agreed.names():
                with self._scratch_folder() as folder:
                    (folder / MADE_WITH).write_text(json.dumps(here), encoding="utf-8")
                    self.agreed.put(MADE_WITH, folder / MADE_WITH)
            others = json.loads(self.agreed.read(MADE_WITH))
        if here != others:
            differ = [name for name in here if here[name] != others.get(name)]
            theirs, found = (", ".join(f"{name} {of.get(name)}" for name in differ) for of in (others, here))
            where = "" if self.agreed is None else f", or delete {self.agreed} to begin anew"
            raise GlowPipelineError(
                f"{self.title}: its other parts are made with {theirs}, and this command would use {found}, with which "
                f"pixels may differ; use the same for all{where}"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Send files that were listed; arrays are opened again where they are read."""
        writer, split = replace(self.writer, other_split=None), self.images.split
        if isinstance(split, EncodedSplit):
            writer = replace(writer, open=partial(_same, split))
        return {**{each.name: getattr(self, each.name) for each in fields(self)}, "writer": writer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def scratch_of_machine() -> str:
    """Return the beginning of the names of scratch folders, before the process's number.

    Containers with one host name have numbers of their own: so it also names the space that a number is from.
    """
    namespace = Path("/proc/self/ns/pid")
    return f"{SCRATCH}{platform.node()}-{namespace.stat().st_ino if namespace.exists() else 0}-"


def rows_file(part: int) -> str:
    """Return the name of the file with a part's labels, content hashes and names."""
    return f"rows-{part:05}.parquet"


def record_file(part: int) -> str:
    """Return the name of the file that says that a part is complete."""
    return f"{part:05}.json"


def _same(split: EncodedSplit) -> EncodedSplit:
    return split

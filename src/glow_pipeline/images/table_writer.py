"""Writing an image table: from a source's files, by decoding and preparing, to the files of the table."""

import errno
import logging
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import IO

import numpy as np

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import link_or_copy
from glow_pipeline.images.decoding import MAX_PIXELS
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.images_file import ImageCounts, ImagesFile
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.images.sources.source import ArraySplit, EncodedSplit, Split
from glow_pipeline.images.split_images import SplitImages
from glow_pipeline.images.table import ImageTable, OnUnreadable, TableOrigin, TableRecord
from glow_pipeline.images.table_files import (
    CONTENT,
    IMAGES,
    LABELS,
    RECORD,
    UNREADABLE,
    write_names,
    write_unreadable,
)
from glow_pipeline.images.unreadable_files import AT_MOST, UnreadableFiles, find_unreadable, refusal

logger = logging.getLogger(__name__)
WORTH_SAYING = 2**30  # bytes; smaller tables are written without a word


@dataclass(frozen=True)
class TableWriter:
    """A table that can be written, or linked when one of the same origin exists. Nothing is decoded before.

    Attributes:
        origin: what the table is made from, and how.
        num_classes: classes of the source; 1 where only its files say.
        open: opens the source's split.
        num_workers, max_pixels: as in `plan_table`.
        passed_over: files in the source's folder that are no images, by suffix or kind -> how many.
        other_split: plans the folder's other split, whose unreadable files are listed with those of this one; None
            where they are not.
    """

    origin: TableOrigin
    num_classes: int
    open: Callable[[], ArraySplit | EncodedSplit]
    num_workers: int | None = 0
    passed_over: dict[str, int] = field(default_factory=dict)
    max_pixels: int = MAX_PIXELS
    other_split: Callable[[], "TableWriter"] | None = None

    @cached_property
    def images(self) -> SplitImages:
        """The split, opened at its first use."""
        return SplitImages(self.open(), self.origin, self.num_workers, self.max_pixels)

    def write(self, folder: Path) -> None:
        """Decode, prepare and write chunk by chunk, so that memory does not grow with the number of images.

        Args:
            folder: folder of the table, which is made.

        Raises:
            GlowPipelineError: no image is of the chosen classes, files are unreadable, or the disk is full.
        """
        images = self.images
        self.check_space(folder.parent, len(images.rows))
        folder.mkdir()
        with self.full_disk_in_one_line(folder.parent):
            unreadable = UnreadableFiles()
            with ImagesFile(folder / IMAGES, self.origin.image_format, len(images.rows)) as file:
                for chunk in images.with_progress("ingest"):
                    file.add(chunk)
                    unreadable.add(chunk.unreadable)
                    if self.stops_at(unreadable):
                        break
            unreadable.log_rest(self.origin.title)
            counts = file.counts(images.first_own)
            self.check_unreadable(counts.count, unreadable, unreadable.count)
            for name, values in ((LABELS, images.labels[file.rows]), (CONTENT, file.hashes)):
                with array_file(folder / name, counts.count) as array:
                    array.write(values.data)
            if (names := images.names(file.rows)) is not None:
                write_names(folder, [names])
            if file.unreadable:
                write_unreadable(folder / UNREADABLE, [file.unreadable.items()])
            write_record(folder, self.record(images, counts))

    def link(self, existing: ImageTable, folder: Path) -> None:
        """Hard-link or copy the files of a table of the same origin; its folder of images may have moved since."""
        folder.mkdir()
        record = existing.record.model_copy(update={**self.origin.origin_fields, "passed_over": self.passed_over})
        same = record == existing.record
        for file in existing.folder.iterdir():
            if (same or file.name != RECORD) and not is_of_parts(file.name):
                link_or_copy(file, folder / file.name)
        if not same:
            write_record(folder, record)

    def record(self, images: SplitImages, counts: ImageCounts) -> TableRecord:
        """Return the record of the table with these images."""
        return TableRecord(
            **self.origin.origin_fields,
            count=counts.count,
            num_classes=max(len(images.class_names) or self.num_classes, int(images.labels.max()) + 1),
            class_names=images.class_names,
            own_validation=counts.own_validation,
            n_unreadable=counts.n_unreadable,
            passed_over=self.passed_over,
            findings=counts.findings,
            file_formats=counts.file_formats if counts.file_formats.count else None,
        )

    def check_space(self, disk: Path, count: int) -> None:
        """Check that the disk has room for so many images, and say how much a large table takes.

        Raises:
            GlowPipelineError: it has not.
        """
        needed = count * (math.prod(self.origin.image_format.shape) + 8)
        free = shutil.disk_usage(disk).free
        if free < needed:
            raise GlowPipelineError(
                f"{disk}: {free / 2**30:.1f} GiB are free, and the table of {self.origin.title} takes "
                f"{needed / 2**30:.1f} GiB; make room, lower ingest.size, or move data/"
            )
        if (note := disk_note(count, needed, free)) is not None:
            logger.info("%s: %s", self.origin.title, note)

    @contextmanager
    def full_disk_in_one_line(self, disk: Path) -> Iterator[None]:
        """Turn the system's error that the disk is full into one for the user."""
        try:
            yield
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise GlowPipelineError(
                    f"{disk}: the disk is full ({self.origin.title}); make room, or move data/"
                ) from None
            raise

    def stops_at(self, unreadable: UnreadableFiles) -> bool:
        """Return whether so many files are unreadable that no further one needs to be read."""
        return self.origin.on_unreadable == "stop" and unreadable.enough

    def check_unreadable(self, n_readable: int, unreadable: Mapping[str, str], count: int) -> None:
        """Refuse unreadable files, with those of the other split where that is planned.

        Args:
            n_readable: images that would be left.
            unreadable: name -> reason, of the first files that were found.
            count: number of all that were found.

        Raises:
            GlowPipelineError: they are not to be skipped, or no image would be left.
        """
        skip = self.origin.on_unreadable == "skip"
        if not count or (skip and n_readable):
            return
        enough = count >= AT_MOST
        if skip or enough or self.other_split is None:
            raise refusal(self.origin.title, unreadable, count, so_far=enough and not skip, skipped=skip)
        both = {**unreadable, **self._unreadable_in(self.other_split())}
        raise refusal(self.origin.name, both, len(both))

    def _unreadable_in(self, other: "TableWriter") -> dict[str, str]:
        """Return the unreadable files of the other split, below its folder's name where that is another folder."""
        path, eval_path = self.origin.image_selection.path, self.origin.image_selection.eval_path
        folder = path if other.origin.split == "train" else eval_path
        below = f"{folder.name}/" if folder is not None and eval_path is not None else ""
        return {below + name: reason for name, reason in find_unreadable(other.images).items()}


def disk_note(count: int, needed: int, free: int) -> str | None:
    """Return what a large table takes, before hours of decoding; None for a small one.

    Args:
        count: number of images.
        needed, free: bytes.
    """
    if needed < WORTH_SAYING:
        return None
    return f"{count:,} images take {needed / 2**30:.1f} GiB of disk as a table, {free / 2**30:.1f} GiB are free"


def plan_table(
    image_selection: ImageSelection,
    split: Split,
    image_format: ImageFormat,
    raw: Path,
    on_unreadable: OnUnreadable = "stop",
    num_workers: int | None = 0,
    max_pixels: int = MAX_PIXELS,
    looks: FolderLooks | None = None,
) -> TableWriter:
    """Find (or fetch) and checksum the source's files; decode nothing yet.

    Args:
        raw: folder that holds source files, one folder a source.
        num_workers: decoding processes for sources of encoded images; None: one for each core.
        max_pixels: larger images are unreadable.
        looks: those at folders of images that the command has had.
    """
    source = source_of(image_selection, looks)
    files = source.files(raw, split)
    origin = TableOrigin(
        image_selection=image_selection,
        split=split,
        image_format=image_format,
        # The images of a folder keep their name when the folder gets another one.
        source_files={image_selection.name or file.path.name: file.sha256 for file in files},
        on_unreadable=on_unreadable,
        made_with={
            "table_format": "4",
            "torch": version("torch"),
            "pillow": version("pillow"),
            **({} if max_pixels == MAX_PIXELS else {"max_pixels": str(max_pixels)}),
        },
    )
    other_split = None
    if image_selection.is_folder and image_selection.class_names is None:  # a stored model needs no folder to train on
        other: Split = "test" if split == "train" else "train"
        other_split = partial(
            plan_table, image_selection, other, image_format, raw, on_unreadable, num_workers, max_pixels, looks
        )
    return TableWriter(
        origin,
        source.num_classes,
        partial(source.open, [file.path for file in files], split),
        num_workers,
        dict(source.passed_over(split)),
        max_pixels,
        other_split,
    )


def write_record(folder: Path, record: TableRecord) -> None:
    """Write the record, which makes the table."""
    (folder / RECORD).write_text(record.model_dump_json(indent=2), encoding="utf-8")


def is_of_parts(file: str) -> bool:
    """Return whether a file was only needed while a table was made in parts; one may be left in its folder."""
    return re.fullmatch(r"rows-\d+\.parquet|\d+\.json", file) is not None


def array_file(path: Path, count: int) -> IO[bytes]:
    """Open an .npy file of int64 (count,), to which the values are written next.

    Unlike those of np.save, its errors say why it could not be written.
    """
    file = path.open("wb")
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.int64)), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)
    return file

"""Writing an image table: from a source's files, by decoding and preparing, to the files of the table."""

import errno
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import link_or_copy
from glow_pipeline.images.content import content_hash
from glow_pipeline.images.decoding import MAX_PIXELS
from glow_pipeline.images.file_formats import FileFormats
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.images.sources.source import ArraySplit, EncodedSplit, Split
from glow_pipeline.images.split_images import SplitImages
from glow_pipeline.images.table import (
    CONTENT,
    IMAGES,
    LABELS,
    NAMES,
    RECORD,
    ImageTable,
    OnUnreadable,
    TableOrigin,
    TableRecord,
)
from glow_pipeline.images.unreadable_files import UnreadableFiles, find_unreadable, refusal

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

    def images(self) -> SplitImages:
        """Open the split."""
        return SplitImages(self.open(), self.origin, self.num_workers, self.max_pixels)

    def write(self, folder: Path) -> None:
        """Decode, prepare and write chunk by chunk, so that memory does not grow with the number of images.

        Args:
            folder: folder of the table, which is made.

        Raises:
            GlowPipelineError: no image is of the chosen classes, files are unreadable, or the disk is full.
        """
        images = self.images()
        self._check_space(folder, len(images.rows))
        folder.mkdir()
        try:
            written = _write_images(folder, images)
            self._check_unreadable(len(written.rows), written.unreadable)
            _write_array(folder / LABELS, images.labels[written.rows])
            _write_array(folder / CONTENT, written.hashes)
            names = images.names(written.rows)
            if names is not None:
                (folder / NAMES).write_text(json.dumps(names, ensure_ascii=False, indent=0), encoding="utf-8")
            _write_record(folder, self._record(images, written))
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise GlowPipelineError(
                    f"{folder.parent}: the disk is full ({self.origin.title}); make room, or move data/"
                ) from None
            raise

    def link(self, existing: ImageTable, folder: Path) -> None:
        """Hard-link or copy the files of a table of the same origin; its folder of images may have moved since."""
        folder.mkdir()
        record = existing.record.model_copy(update={**self.origin.origin_fields, "passed_over": self.passed_over})
        same = record == existing.record
        for file in existing.folder.iterdir():
            if same or file.name != RECORD:
                link_or_copy(file, folder / file.name)
        if not same:
            _write_record(folder, record)

    def _record(self, images: SplitImages, written: "_Written") -> TableRecord:
        first_own = len(images.labels) - images.split.own_validation
        return TableRecord(
            **self.origin.origin_fields,
            count=len(written.rows),
            num_classes=max(len(images.class_names) or self.num_classes, int(images.labels.max()) + 1),
            class_names=images.class_names,
            own_validation=int((written.rows >= first_own).sum()),
            unreadable=dict(written.unreadable),
            passed_over=self.passed_over,
            findings=written.findings,
            file_formats=written.formats if written.formats.count else None,
        )

    def _check_space(self, folder: Path, count: int) -> None:
        needed = count * (int(np.prod(self.origin.image_format.shape)) + 8)
        free = shutil.disk_usage(folder.parent).free
        if free < needed:
            raise GlowPipelineError(
                f"{folder.parent}: {free / 2**30:.1f} GiB are free, and the table of {self.origin.title} takes "
                f"{needed / 2**30:.1f} GiB; make room, lower ingest.size, or move data/"
            )
        if (note := disk_note(count, needed, free)) is not None:
            logger.info("%s: %s", self.origin.title, note)

    def _check_unreadable(self, n_readable: int, unreadable: UnreadableFiles) -> None:
        """Refuse unreadable files, with those of the other split where that is planned."""
        skip = self.origin.on_unreadable == "skip"
        if not unreadable or (skip and n_readable):
            return
        if skip or unreadable.enough or self.other_split is None:
            raise refusal(self.origin.title, unreadable, so_far=unreadable.enough and not skip, skipped=skip)
        raise refusal(self.origin.name, unreadable | self._unreadable_in(self.other_split()))

    def _unreadable_in(self, other: "TableWriter") -> dict[str, str]:
        """Return the unreadable files of the other split, below its folder's name where that is another folder."""
        path, eval_path = self.origin.image_selection.path, self.origin.image_selection.eval_path
        folder = path if other.origin.split == "train" else eval_path
        below = f"{folder.name}/" if folder is not None and eval_path is not None else ""
        return {below + name: reason for name, reason in find_unreadable(other.images()).items()}


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
) -> TableWriter:
    """Find (or fetch) and checksum the source's files; decode nothing yet.

    Args:
        raw: folder that holds source files, one folder a source.
        num_workers: decoding processes for sources of encoded images; None: one for each core.
        max_pixels: larger images are unreadable.
    """
    source = source_of(image_selection)
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
            plan_table, image_selection, other, image_format, raw, on_unreadable, num_workers, max_pixels
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


class _Written(NamedTuple):
    """Images of a split that were written.

    Attributes:
        rows: written rows (n,), in order.
        hashes: `content_hash` of each (n,).
    """

    rows: NDArray[np.int64]
    hashes: NDArray[np.int64]
    unreadable: UnreadableFiles
    findings: Findings
    formats: FileFormats


def _write_images(folder: Path, images: SplitImages) -> _Written:
    """Write the chosen images; end early where files are unreadable and shall not be skipped."""
    origin = images.origin
    rows: list[NDArray[np.int64]] = []
    hashes: list[NDArray[np.int64]] = []
    unreadable, findings, formats = UnreadableFiles(), Findings(), FileFormats()
    # Written as a stream: pages of a memory map that are written to would count as this process's memory.
    with (folder / IMAGES).open("wb") as file:
        _write_header(file, len(images.rows), origin.image_format)
        for chunk in images.with_progress("ingest"):
            file.write(chunk.images.contiguous().numpy().data)
            rows.append(chunk.rows)
            hashes.append(content_hash(chunk.images).numpy())
            unreadable.add(chunk.unreadable)
            findings.add(chunk.findings or Findings())
            for file_format in chunk.formats:
                formats.add(file_format)
            if origin.on_unreadable == "stop" and unreadable.enough:
                break
        written = _joined(rows)
        file.seek(0)
        _write_header(file, len(written), origin.image_format)
    return _Written(written, _joined(hashes), unreadable, findings, formats)


def _write_header(file: IO[bytes], count: int, image_format: ImageFormat) -> None:
    """Write the .npy header, whose length does not depend on the count: numpy leaves room for that to grow."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *image_format.shape)}
    np.lib.format.write_array_header_1_0(file, header)


def _write_record(folder: Path, record: TableRecord) -> None:
    (folder / RECORD).write_text(record.model_dump_json(indent=2), encoding="utf-8")


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.array([], dtype=np.int64)


def _write_array(path: Path, array: NDArray[np.int64]) -> None:
    """Write a .npy file; unlike np.save, an error says why it could not be written."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)

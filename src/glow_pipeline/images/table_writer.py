"""Writing an image table: from a source's files, by decoding and preparing, to the files of the table."""

import errno
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import link_or_copy
from glow_pipeline.images.classes import wanted
from glow_pipeline.images.content import content_hash
from glow_pipeline.images.decoding import MAX_PIXELS
from glow_pipeline.images.decoding_workers import Prepared, decode_and_prepare
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.images.sources.source import ArraySplit, EncodedSplit, Split
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

# A folder in which nothing can be read is told after so many files, not after all of them.
UNREADABLE_AT_MOST = 100
PREPARED_BYTES = 2**24  # of images prepared at once, however large they become
NAMED_AT_MOST = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableWriter:
    """A table that can be written, or left unwritten when one of the same origin exists already.

    Attributes:
        passed_over: files in the source's folder that are no images, by suffix or kind -> how many.
        other_split: the plan of the folder's other split, whose unreadable files can be listed with those of this one.
    """

    origin: TableOrigin
    num_classes: int
    open: Callable[[], ArraySplit | EncodedSplit]
    num_workers: int | None = 0
    passed_over: dict[str, int] = field(default_factory=dict)
    max_pixels: int = MAX_PIXELS
    other_split: Callable[[], "TableWriter"] | None = None

    def write(self, folder: Path, both_splits: bool = False) -> None:
        """Decode, prepare and write chunk by chunk, so that memory does not grow with the number of images.

        Args:
            folder: of the table; is made.
            both_splits: list unreadable files of the other split too, where there are some in this one.

        Raises:
            GlowPipelineError: no image is of the wanted classes, files are unreadable, or the disk is full.
        """
        opened = self.open()
        rows = self._wanted(opened)
        self._check_space(folder, len(rows))
        folder.mkdir()
        try:
            kept, hashes, unreadable, findings = self._write_images(folder, opened, rows)
            self._check_unreadable(len(kept), unreadable, both_splits)
            _write_array(folder / LABELS, opened.labels[kept])
            _write_array(folder / CONTENT, hashes)
            if isinstance(opened, EncodedSplit):
                names = [opened.reader.name(int(row)) for row in kept]
                (folder / NAMES).write_text(json.dumps(names, ensure_ascii=False, indent=0), encoding="utf-8")
            record = TableRecord(
                **{name: getattr(self.origin, name) for name in TableOrigin.model_fields},
                count=len(kept),
                num_classes=max(self._known_classes(opened), int(opened.labels.max()) + 1),
                class_names=_class_names(opened),
                own_validation=int((kept >= len(opened.labels) - opened.own_validation).sum()),
                unreadable=unreadable,
                passed_over=self.passed_over,
                findings=findings,
            )
            _write_record(folder, record)
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise GlowPipelineError(
                    f"{folder.parent}: the disk is full ({self._title}); make room, or move data/"
                ) from None
            raise

    def draw(
        self,
        n: int,
        generator: torch.Generator,
        *,
        seen: NDArray[np.int64] | None = None,
        num_classes: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Read some images at random, without writing a table.

        Args:
            n: images; there are fewer where the split has fewer.
            seen: content hashes of images that are left out.
            num_classes: leave out images of classes from this number on.

        Returns:
            Images uint8 (n, C, H, W) below 2**n_bits and labels int64 (n,), in the order in which they were drawn.
        """
        opened = self.open()
        rows = self._wanted(opened)
        if num_classes is not None:
            rows = rows[opened.labels[rows] < num_classes]
        order = rows[torch.randperm(len(rows), generator=generator).numpy()]
        images = torch.empty(0, *self.origin.image_format.shape, dtype=torch.uint8)
        labels = torch.empty(0, dtype=torch.int64)
        for start in range(0, len(order), n):
            block = order[start : start + n]
            chunks = list(self._prepared(opened, np.sort(block)))
            found = {int(row): image for chunk in chunks for row, image in zip(chunk.rows, chunk.images, strict=True)}
            kept = [row for row in block.tolist() if row in found]
            if not kept:
                continue
            drawn = torch.stack([found[row] for row in kept])
            unseen = np.full(len(kept), True) if seen is None else ~np.isin(content_hash(drawn).numpy(), seen)
            images = torch.cat([images, drawn[unseen]])[:n]
            labels = torch.cat([labels, torch.from_numpy(opened.labels[np.array(kept)[unseen]])])[:n]
            if len(images) == n:
                break
        return images, labels

    def link(self, existing: ImageTable, folder: Path) -> None:
        """Hard-link or copy the files of a table of the same origin; its folder of images may have moved since."""
        folder.mkdir()
        fields = {name: getattr(self.origin, name) for name in TableOrigin.model_fields}
        record = existing.record.model_copy(update={**fields, "passed_over": self.passed_over})
        same = record == existing.record
        for file in existing.folder.iterdir():
            if same or file.name != RECORD:
                link_or_copy(file, folder / file.name)
        if not same:
            _write_record(folder, record)

    @property
    def _title(self) -> str:
        return f"{self.origin.name} {self.origin.split}"

    def _known_classes(self, opened: ArraySplit | EncodedSplit) -> int:
        return len(_class_names(opened)) or self.num_classes

    def _wanted(self, opened: ArraySplit | EncodedSplit) -> NDArray[np.int64]:
        labels, names = opened.labels, _class_names(opened)
        if not len(labels):
            raise GlowPipelineError(f"{self._title}: there is no image in its files; fetch them again")
        choice = self.origin.image_selection.classes
        try:
            rows = np.flatnonzero(wanted(labels, choice, names))
        except GlowPipelineError as error:
            raise GlowPipelineError(f"{self._title}: {error}") from None
        if not len(rows):
            classes = ", ".join(names[k] if names else str(k) for k in np.unique(labels)[:30])
            raise GlowPipelineError(
                f"{self._title}: no image is of class {', '.join(map(str, choice or ()))}; its images are of {classes}"
            )
        return rows

    def _check_space(self, folder: Path, count: int) -> None:
        needed = count * (int(np.prod(self.origin.image_format.shape)) + 8)
        free = shutil.disk_usage(folder.parent).free
        if free < needed:
            raise GlowPipelineError(
                f"{folder.parent}: {free / 2**30:.1f} GiB are free, and the table of {self._title} takes "
                f"{needed / 2**30:.1f} GiB; make room, lower ingest.size, or move data/"
            )

    def _write_images(
        self, folder: Path, opened: ArraySplit | EncodedSplit, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, str], Findings]:
        """Write the images; return the written rows, hashes of their pixels, unreadable files and other findings."""
        kept: list[NDArray[np.int64]] = []
        hashes: list[NDArray[np.int64]] = []
        unreadable: dict[str, str] = {}
        findings = Findings()
        # Written as a stream: pages of a memory map that are written to would count as this process's memory.
        with (
            (folder / IMAGES).open("wb") as file,
            tqdm(total=len(rows), desc=f"ingest {self._title}", unit="img", delay=2) as bar,
        ):
            self._write_header(file, len(rows))
            for chunk in self._prepared(opened, rows):
                file.write(chunk.images.contiguous().numpy().data)
                kept.append(chunk.rows)
                hashes.append(content_hash(chunk.images).numpy())
                _log_unreadable(chunk.unreadable)
                unreadable |= chunk.unreadable
                findings.add(chunk.findings or Findings())
                if self.origin.on_unreadable == "stop" and len(unreadable) >= UNREADABLE_AT_MOST:
                    break
                bar.update(len(chunk.rows) + len(chunk.unreadable))
            written = _joined(kept)
            file.seek(0)
            self._write_header(file, len(written))
        return written, _joined(hashes), unreadable, findings

    def _write_header(self, file: IO[bytes], count: int) -> None:
        """The .npy header; it has one length whatever the count, since numpy leaves room for that to grow."""
        shape = (count, *self.origin.image_format.shape)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})

    def _prepared(self, opened: ArraySplit | EncodedSplit, rows: NDArray[np.int64]) -> Iterator[Prepared]:
        if isinstance(opened, EncodedSplit):
            yield from decode_and_prepare(
                opened.reader, rows, self.origin.image_format, self.num_workers, self.max_pixels
            )
            return
        start, at_once = 0, max(1, PREPARED_BYTES // int(np.prod(self.origin.image_format.shape)))
        for images in opened.read():
            stop = start + len(images)
            here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
            for first in range(0, len(here), at_once):
                part = here[first : first + at_once]
                yield Prepared(part, prepare(images[part - start], self.origin.image_format), {})
            start = stop
        if start != len(opened.labels):
            raise GlowPipelineError(
                f"{self._title}: {len(opened.labels)} labels but {start} images; fetch its files again"
            )

    def _check_unreadable(self, n_readable: int, unreadable: dict[str, str], both_splits: bool) -> None:
        skip = self.origin.on_unreadable == "skip"
        if not unreadable or (skip and n_readable):
            return
        so_far = len(unreadable) >= UNREADABLE_AT_MOST and not skip
        title = self._title
        if both_splits and self.other_split is not None and not skip and not so_far:
            unreadable = unreadable | self._unreadable_elsewhere(self.other_split())
            title = self.origin.name
        named = ", ".join(f"{name} ({reason})" for name, reason in list(unreadable.items())[:NAMED_AT_MOST])
        more = f" and {len(unreadable) - NAMED_AT_MOST} more, listed above" if len(unreadable) > NAMED_AT_MOST else ""
        advice = "none is left; give others" if skip else "replace or remove them, or set ingest.on_unreadable=skip"
        raise GlowPipelineError(
            f"{title}: {len(unreadable)} unreadable files{' so far' if so_far else ''}: {named}{more}; {advice}"
        )

    def _unreadable_elsewhere(self, plan: "TableWriter") -> dict[str, str]:
        path, eval_path = self.origin.image_selection.path, self.origin.image_selection.eval_path
        folder = path if plan.origin.split == "train" else eval_path
        below = f"{folder.name}/" if folder is not None and eval_path is not None else ""
        return {below + name: reason for name, reason in plan.unreadable().items()}

    def unreadable(self) -> dict[str, str]:
        """Decode all images and keep none; return, and log, the files that cannot be read, with the reason."""
        opened = self.open()
        rows = self._wanted(opened)
        found: dict[str, str] = {}
        with tqdm(total=len(rows), desc=f"read {self._title}", unit="img", delay=2) as bar:
            for chunk in self._prepared(opened, rows):
                _log_unreadable(chunk.unreadable)
                found |= chunk.unreadable
                bar.update(len(chunk.rows) + len(chunk.unreadable))
                if len(found) >= UNREADABLE_AT_MOST:
                    break
        return found


def _log_unreadable(unreadable: dict[str, str]) -> None:
    for name, reason in unreadable.items():
        log.warning("%s: unreadable: %s", name, reason)


def _class_names(opened: ArraySplit | EncodedSplit) -> list[str]:
    """Return the names of the classes by number; empty where the source has none."""
    return list(opened.class_names or ()) if isinstance(opened, EncodedSplit) else []


def _write_record(folder: Path, record: TableRecord) -> None:
    (folder / RECORD).write_text(record.model_dump_json(indent=2), encoding="utf-8")


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.array([], dtype=np.int64)


def _write_array(path: Path, array: NDArray[np.int64]) -> None:
    """Write a .npy file; unlike np.save, an error says why it could not be written."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)


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
        # A folder's set keeps its name when its folder gets another one.
        source_files={image_selection.name or file.path.name: file.sha256 for file in files},
        on_unreadable=on_unreadable,
        made_with={
            "table_format": "4",
            "torch": version("torch"),
            "pillow": version("pillow"),
            **({} if max_pixels == MAX_PIXELS else {"max_pixels": str(max_pixels)}),
        },
    )
    paths = [file.path for file in files]
    other_split = None
    if image_selection.is_folder and image_selection.class_names is None:  # a stored model needs no folder to train on
        other: Split = "test" if split == "train" else "train"
        other_split = partial(
            plan_table, image_selection, other, image_format, raw, on_unreadable, num_workers, max_pixels
        )
    return TableWriter(
        origin,
        source.num_classes,
        lambda: source.open(paths, split),
        num_workers,
        dict(source.passed_over(split)),
        max_pixels,
        other_split,
    )

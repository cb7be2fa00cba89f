"""Writing an image table: from a source's files, by decoding and preparing, to the files of the table."""

import errno
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.content import content_hash
from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.registry import source_of
from glow_pipeline.images.source import ArraySplit, EncodedSplit, Split
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.images.table import CONTENT, IMAGES, LABELS, NAMES, RECORD, OnUnreadable, TableOrigin, TableRecord
from glow_pipeline.images.workers import Prepared, decode_and_prepare

# A folder in which nothing can be read is told after so many files, not after all of them.
UNREADABLE_AT_MOST = 100
NAMED_AT_MOST = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlannedTable:
    """A table that can be written, or left unwritten when one of the same origin is there already."""

    origin: TableOrigin
    num_classes: int
    open: Callable[[], ArraySplit | EncodedSplit]
    num_workers: int | None = 0

    def write(self, folder: Path) -> None:
        """Decode, prepare and write chunk by chunk, so that memory does not grow with the number of images.

        Raises:
            GlowPipelineError: no image is of the wanted classes, files are unreadable, or the disk is full.
        """
        opened = self.open()
        rows = self._wanted(opened.labels)
        self._check_space(folder, len(rows))
        folder.mkdir()
        try:
            kept, hashes, unreadable = self._write_images(folder, opened, rows)
            self._check_unreadable(len(kept), unreadable)
            _write_array(folder / LABELS, opened.labels[kept])
            _write_array(folder / CONTENT, hashes)
            if isinstance(opened, EncodedSplit):
                names = [opened.reader.name(int(row)) for row in kept]
                (folder / NAMES).write_text(json.dumps(names, ensure_ascii=False, indent=0), encoding="utf-8")
            record = TableRecord(
                **{name: getattr(self.origin, name) for name in TableOrigin.model_fields},
                count=len(kept),
                num_classes=max(self._known_classes(opened), int(opened.labels.max()) + 1),
                own_validation=int((kept >= len(opened.labels) - opened.own_validation).sum()),
                unreadable=unreadable,
            )
            (folder / RECORD).write_text(record.model_dump_json(indent=2), encoding="utf-8")
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise GlowPipelineError(
                    f"{folder.parent}: the disk is full ({self._title}); make room, or move data/"
                ) from None
            raise

    @property
    def _title(self) -> str:
        return f"{self.origin.name} {self.origin.split}"

    def _known_classes(self, opened: ArraySplit | EncodedSplit) -> int:
        counted = opened.num_classes if isinstance(opened, EncodedSplit) else None
        return self.num_classes if counted is None else counted

    def _wanted(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        classes = self.origin.image_set.classes
        rows = np.arange(len(labels)) if classes is None else np.flatnonzero(np.isin(labels, classes))
        if not len(labels):
            raise GlowPipelineError(f"{self._title}: there is no image in its files; fetch them again")
        if classes is not None and not len(rows):
            there = ", ".join(str(k) for k in np.unique(labels)[:30])
            raise GlowPipelineError(
                f"{self._title}: no image is of class {', '.join(map(str, classes))}; its images are of {there}"
            )
        return rows

    def _check_space(self, folder: Path, count: int) -> None:
        needed = count * (int(np.prod(self.origin.spec.shape)) + 8)
        free = shutil.disk_usage(folder.parent).free
        if free < needed:
            raise GlowPipelineError(
                f"{folder.parent}: {free / 2**30:.1f} GiB are free, and the table of {self._title} takes "
                f"{needed / 2**30:.1f} GiB; make room, lower ingest.size, or move data/"
            )

    def _write_images(
        self, folder: Path, opened: ArraySplit | EncodedSplit, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, str]]:
        """Rows that were written, the hashes of their pixels, and what could not be read."""
        kept: list[NDArray[np.int64]] = []
        hashes: list[NDArray[np.int64]] = []
        unreadable: dict[str, str] = {}
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
                for name, reason in chunk.unreadable.items():
                    log.warning("%s: unreadable: %s", name, reason)
                unreadable |= chunk.unreadable
                if self.origin.on_unreadable == "stop" and len(unreadable) >= UNREADABLE_AT_MOST:
                    break
                bar.update(len(chunk.rows) + len(chunk.unreadable))
            written = _joined(kept)
            file.seek(0)
            self._write_header(file, len(written))
        return written, _joined(hashes), unreadable

    def _write_header(self, file: IO[bytes], count: int) -> None:
        """The .npy header; it has one length whatever the count, since numpy leaves room for that to grow."""
        shape = (count, *self.origin.spec.shape)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})

    def _prepared(self, opened: ArraySplit | EncodedSplit, rows: NDArray[np.int64]) -> Iterator[Prepared]:
        if isinstance(opened, EncodedSplit):
            yield from decode_and_prepare(opened.reader, rows, self.origin.spec, self.num_workers)
            return
        start = 0
        for images in opened.read():
            stop = start + len(images)
            here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
            if len(here):
                yield Prepared(here, prepare(images[here - start], self.origin.spec), {})
            start = stop
        if start != len(opened.labels):
            raise GlowPipelineError(
                f"{self._title}: {len(opened.labels)} labels but {start} images; fetch its files again"
            )

    def _check_unreadable(self, n_readable: int, unreadable: dict[str, str]) -> None:
        skip = self.origin.on_unreadable == "skip"
        if not unreadable or (skip and n_readable):
            return
        named = ", ".join(f"{name} ({reason})" for name, reason in list(unreadable.items())[:NAMED_AT_MOST])
        more = f" and {len(unreadable) - NAMED_AT_MOST} more, listed above" if len(unreadable) > NAMED_AT_MOST else ""
        advice = "none is left; give others" if skip else "mend or remove them, or set ingest.on_unreadable=skip"
        so_far = " so far" if len(unreadable) >= UNREADABLE_AT_MOST and not skip else ""
        raise GlowPipelineError(f"{self._title}: {len(unreadable)} unreadable files{so_far}: {named}{more}; {advice}")


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.array([], dtype=np.int64)


def _write_array(path: Path, array: NDArray[np.int64]) -> None:
    """Write a .npy file; unlike np.save, an error says why it could not be written."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)


def plan_table(
    image_set: ImageSet,
    split: Split,
    spec: ImageSpec,
    raw: Path,
    on_unreadable: OnUnreadable = "stop",
    num_workers: int | None = 0,
) -> PlannedTable:
    """Find (or fetch) and checksum the source's files; decode nothing yet.

    Args:
        raw: folder that holds source files, one folder a source.
        num_workers: decoding processes for sources of encoded images; None: one for each core.
    """
    source = source_of(image_set)
    files = source.files(raw, split)
    origin = TableOrigin(
        image_set=image_set,
        split=split,
        spec=spec,
        source_files={file.path.name: file.sha256 for file in files},
        on_unreadable=on_unreadable,
        made_with={"table_format": "3", "torch": version("torch"), "pillow": version("pillow")},
    )
    paths = [file.path for file in files]
    return PlannedTable(origin, source.num_classes, lambda: source.open(paths, split), num_workers)

"""Scores of files: decoded, prepared and judged as a stream."""

import os
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.images.decoding import UnreadableImageError, opened
from glow_pipeline.images.decoding_workers import decode_and_prepare
from glow_pipeline.images.file_formats import FileFormat
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.sources.archives import FilesOnDisk
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.judge import Judge
from glow_pipeline.verdict.listing import ListedFiles
from glow_pipeline.verdict.score_rows import Rows, findings_as_json, values_of

LARGE = 2**23  # bytes; a larger file is opened before all of it is read


class Scored(NamedTuple):
    """The scores of some files."""

    rows: Rows  # (n,), positions in the list
    values: dict[str, Any]  # column -> (n,)


@dataclass(frozen=True)
class FileScorer:
    """Scores files by a judge, in memory that does not grow with their number beyond their rows of the table.

    Attributes:
        judge: computes the scores.
        listed: the files.
        image_format: of the judge, with a range of grey values where files have more than 8 bits.
        batch_size: images that are judged at once: those of so many files in the list, from a multiple of it on.
        num_workers: processes that decode; None: one for each core.
        max_pixels: larger images are unreadable.
        threads: number on a CPU; None: a measurement chooses it.
    """

    judge: Judge
    listed: ListedFiles
    image_format: ImageFormat
    batch_size: int
    num_workers: int | None
    max_pixels: int
    threads: int | None = None

    def scored(self, to_do: Rows) -> Iterator[Scored]:
        """Yield the scores of these files, those of unreadable ones between those of batches."""
        batches = _Batches(self, to_do)
        for judged in self.judge.judged(batches):
            rows, formats, findings = batches.read.pop(0)
            yield from batches.unreadable()
            yield Scored(rows, {**values_of(judged, formats), columns.FINDINGS: [*map(findings_as_json, findings)]})
        yield from batches.unreadable()


class _Read(NamedTuple):
    """The files of a batch before they are judged."""

    rows: Rows
    formats: Sequence[FileFormat]
    findings: Sequence[Findings]


class _Batches:
    """Batches of the prepared images of files, and their files; unreadable ones are set aside."""

    def __init__(self, scorer: FileScorer, to_do: Rows) -> None:
        self._scorer, self._to_do = scorer, to_do
        self._unreadable: dict[int, str] = {}
        self.read: list[_Read] = []

    def unreadable(self) -> Iterator[Scored]:
        """Yield the files that could not be read since the last call."""
        if self._unreadable:
            rows, reasons = np.array(list(self._unreadable)), list(self._unreadable.values())
            self._unreadable.clear()
            yield Scored(rows, {columns.UNREADABLE: reasons})

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the images of each block of the list that has some to do: other files never change a file's batch."""
        scorer, done = self._scorer, 0
        reader = ByPosition(scorer.listed.reader, scorer.max_pixels)
        images: list[Tensor] = []
        rows: list[int] = []
        formats: list[FileFormat] = []
        findings: list[Findings] = []
        for chunk in decode_and_prepare(
            reader, self._to_do, scorer.image_format, scorer.num_workers, scorer.max_pixels
        ):
            self._unreadable |= {int(name): reason for name, reason in chunk.unreadable.items()}
            images += chunk.images
            rows += chunk.rows.tolist()
            formats += chunk.formats
            findings += chunk.file_findings
            done += len(chunk.rows) + len(chunk.unreadable)
            under_way = self._to_do[done] // scorer.batch_size if done < len(self._to_do) else None
            while rows and (block := rows[0] // scorer.batch_size) != under_way:
                n = bisect_left(rows, (block + 1) * scorer.batch_size)
                self.read.append(_Read(np.array(rows[:n]), formats[:n], findings[:n]))
                yield torch.stack(images[:n])
                images, rows, formats, findings = images[n:], rows[n:], formats[n:], findings[n:]


class ByPosition:
    """A reader whose names are positions: printable names of different files may be equal.

    Of a large file that is no image, such as a film beside the images, it reads the first bytes alone.
    """

    def __init__(self, reader: FilesOnDisk, max_pixels: int) -> None:
        self._reader, self._max_pixels = reader, max_pixels

    def __call__(self, index: int) -> bytes:
        path = Path(self._reader.path(index))
        try:
            if path.stat().st_size > LARGE:
                with path.open("rb") as file, opened(file, self._max_pixels):
                    pass
        except OSError as problem:
            raise UnreadableImageError(problem.strerror or str(problem)) from None
        return self._reader(index)

    def name(self, index: int) -> str:
        return str(index)


def shown_path(path: bytes) -> str:
    r"""Return a path as text; bytes that are not UTF-8 as escapes, such as `\xff`."""
    return path.decode("utf-8", "backslashreplace")


def path_of(shown: str) -> Path:
    """Return the path of a file in a table."""
    path = Path(shown)
    if os.path.lexists(path) or "\\x" not in shown:
        return path
    raw = re.sub(rb"\\x([89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), shown.encode())
    return Path(os.fsdecode(raw))


def file_stamps(paths: Sequence[bytes]) -> Rows:
    """Return size in bytes, time of modification and of change in ns of each file, (n, 3); -1 where it is unknown."""
    stamps = np.full((len(paths), 3), -1, dtype=np.int64)
    for row, path in enumerate(paths):
        try:
            status = os.stat(path)  # noqa: PTH116  # many, and pathlib is slow
        except OSError:  # decoding will say why
            continue
        stamps[row] = status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return stamps

"""Scores of files: decoded, prepared and judged as a stream, and stored part by part."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.images.decoding import UnreadableImageError, opened
from glow_pipeline.images.decoding_workers import decode_and_prepare
from glow_pipeline.images.file_formats import FileFormat
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.sources.archives import FilesOnDisk
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.judge import Judge
from glow_pipeline.verdict.listing import ListedFiles
from glow_pipeline.verdict.score_rows import STAMPS, Rows, findings_as_json, frame_of, values_of
from glow_pipeline.verdict.stored_parts import StoredParts

logger = logging.getLogger(__name__)

LARGE = 2**23  # bytes; a larger file is opened before all of it is read


NO_ROWS = np.empty(0, dtype=np.int64)


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
        batch_size: images that are judged at once.
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

    def score(self, parts: StoredParts) -> pd.DataFrame:
        """Return one row a file, in the order of the list, with the columns of `columns.py`.

        Files that an earlier command has scored and that have not changed since are not read. However this ends, the
        rows of the files that are scored by then are stored.
        """
        reader = self.listed.reader
        paths = [os.fsencode(reader.path(row)) for row in range(len(self.listed))]
        stamps = file_stamps(paths)
        known = self._known(parts.read([*frame_of(self.judge, {}, NO_ROWS)]), paths, stamps)
        to_do = np.setdiff1d(np.arange(len(paths)), known.index)
        if len(known):
            logger.info(
                "%s of %s files were scored by an earlier command with this detector, have not changed since, and keep "
                "their scores (score.on_resume=restart scores all anew)",
                *(f"{len(known):,}", f"{len(paths):,}"),
            )
        with (
            tqdm(total=len(to_do), desc="score", unit="img", delay=2, leave=False) as bar,
            self.judge.threads(self.batch_size, len(to_do), self.threads),
            parts.collecting() as writer,
        ):
            for rows, values in self._scored(to_do):
                own = {columns.PATH: [paths[row] for row in rows], **dict(zip(STAMPS, stamps[rows].T, strict=True))}
                writer.add(frame_of(self.judge, {**own, **values}, rows))
                bar.update(len(rows))
        scored = pd.concat([known, *writer.frames]).sort_index()
        parts.join(scored)
        files = [shown_path(path) for path in scored.pop(columns.PATH)]
        scored.insert(0, columns.FILE, pd.Series(files, index=scored.index, dtype="string"))
        return scored

    def _known(self, frames: Sequence[pd.DataFrame], paths: Sequence[bytes], stamps: Rows) -> pd.DataFrame:
        """Return the rows of files that have not changed since they were scored; unreadable ones are tried again."""
        position = {path: row for row, path in enumerate(paths)} if frames else {}
        kept = [frame_of(self.judge, {}, NO_ROWS)]
        for frame in frames:
            rows = np.array([position.pop(path, -1) for path in frame[columns.PATH]], dtype=np.int64)
            same = (rows >= 0) & (frame[list(STAMPS)].to_numpy(dtype=np.int64) == stamps[rows]).all(axis=1)
            same &= frame[columns.UNREADABLE].isna().to_numpy()
            position |= {paths[row]: row for row in rows[(rows >= 0) & ~same]}
            kept.append(frame_of(self.judge, frame[same].to_dict("series"), rows[same]))
        return pd.concat(kept)

    def _scored(self, to_do: Rows) -> Iterator[Scored]:
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
        scorer = self._scorer
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
            while len(rows) >= scorer.batch_size:
                n = scorer.batch_size
                self.read.append(_Read(np.array(rows[:n]), formats[:n], findings[:n]))
                yield torch.stack(images[:n])
                images, rows, formats, findings = images[n:], rows[n:], formats[n:], findings[n:]
        if rows:
            self.read.append(_Read(np.array(rows), formats, findings))
            yield torch.stack(images)


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

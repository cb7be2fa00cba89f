"""The scoring of a list of files as a work in parts, which are ranges of the list.

The last bits of a score may depend on the batch that its image is in (docs/results/workers.md). So batches are fixed
ranges of the list, and parts whole batches: who computes them, and what an interrupted command had done, change no bit.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Self

import numpy as np
import pandas as pd

from glow_pipeline.device import use_device
from glow_pipeline.errors import GlowPipelineError, HelperFinished
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.threads import most_threads, usable_cores
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.judge import Judge
from glow_pipeline.verdict.score_rows import STAMPS, Rows, frame_of
from glow_pipeline.verdict.scored_files import FileScorer, file_stamps, shown_path
from glow_pipeline.verdict.stored_parts import StoredParts
from glow_pipeline.workers.array import describe_help, let_one_continue
from glow_pipeline.workers.choice import Workers
from glow_pipeline.workers.engines import finish
from glow_pipeline.workers.part_work import Seat

PART_FILES = 4096  # of most files; those of a part are lost when its process is killed within the first seconds
PARTS_EACH = 8  # at least, for each of the processes, where there are so many batches: none waits long for the last
SHARED_BY = 16  # processes that a work is cut for where their number is not known

NO_ROWS = np.empty(0, dtype=np.int64)

logger = logging.getLogger(__name__)


def score_files(
    scorer: FileScorer, stored: StoredParts, workers: Workers | None = None, processes: int = 1
) -> pd.DataFrame:
    """Return one row a file, in the order of the list, with the columns of `columns.py`.

    Files that an earlier command has scored and that have not changed since are not read. However this ends, the rows
    of the files that are scored by then are stored.

    Args:
        scorer: scores the files.
        stored: rows that are known, and where further ones go.
        workers: who scores; None: this machine.
        processes: on this machine.

    Raises:
        HelperFinished: this command has scored its share, and not all others have, or another one continues.
    """
    workers = Workers() if workers is None else workers
    work = unscored_files(scorer, stored, workers, processes)
    if not finish(work, workers.engine, workers.of, processes):
        if workers.engine != "array":
            raise GlowPipelineError(f"{stored}: rows that were just written there cannot be read again; check its disk")
        logger.info("%s", describe_help(work, workers.of))
        raise HelperFinished
    if workers.engine == "array":
        let_one_continue(stored.place, work.known.key, work.title, workers.of)
    scored = work.known.frame()
    stored.join(scored)
    files = [shown_path(path) for path in scored.pop(columns.PATH)]
    scored.insert(0, columns.FILE, pd.Series(files, index=scored.index, dtype="string"))
    return scored


def unscored_files(scorer: FileScorer, stored: StoredParts, workers: Workers, processes: int = 1) -> "FileParts":
    """Return the scoring of those files of the list that have no row yet."""
    reader = scorer.listed.reader
    paths = [os.fsencode(reader.path(row)) for row in range(len(scorer.listed))]
    known = KnownRows(scorer.judge, stored, paths, file_stamps(paths))
    # Unreadable files are tried again; not by commands that share a list, of which each waits for the others' rows.
    known.update(unreadable_too=workers.engine == "array")
    if n := int(known.done.sum()):
        logger.info(
            "%s of %s files were scored by an earlier command with this detector, have not changed since, and keep "
            "their scores (score.on_resume=restart scores all anew)",
            *(f"{n:,}", f"{len(paths):,}"),
        )
    size = workers.part_images or part_files(len(paths), scorer.batch_size, workers.engine, processes)
    size = -(-size // scorer.batch_size) * scorer.batch_size
    return FileParts(scorer, stored, known, size)


def part_files(n: int, batch_size: int, engine: str, processes: int) -> int:
    """Return the number of files of a part: whole batches. Commands that share a list agree on it."""
    sharing = processes if engine == "processes" else SHARED_BY
    return batch_size * max(1, min(PART_FILES, n // (PARTS_EACH * sharing)) // batch_size)


class KnownRows:
    """The rows of a list of files that are stored, by whatever command.

    Attributes:
        stamps: of each file (n, 3), as it is now.
        done: whether there is a row of the file as it is now (n,).
    """

    def __init__(self, judge: Judge, stored: StoredParts, paths: Sequence[bytes], stamps: Rows) -> None:
        self._judge, self._stored = judge, stored
        self.stamps, self.done = stamps, np.zeros(len(paths), dtype=bool)
        self._frames = [frame_of(judge, {}, NO_ROWS)]
        self._position = {path: row for row, path in enumerate(paths)}  # of files that are not done

    def update(self, *, unreadable_too: bool = True) -> None:
        """Read the rows that were stored since the last call.

        Args:
            unreadable_too: whether rows of files that could not be read count.
        """
        for frame in self._stored.read([*self._frames[0]]):
            rows = np.array([self._position.get(path, -1) for path in frame[columns.PATH]], dtype=np.int64)
            same = (rows >= 0) & (frame[list(STAMPS)].to_numpy(dtype=np.int64) == self.stamps[rows]).all(axis=1)
            if not unreadable_too:
                same &= frame[columns.UNREADABLE].isna().to_numpy()
            _, first = np.unique(rows[same], return_index=True)
            taken = np.flatnonzero(same)[first]
            values = {str(name): column for name, column in frame.iloc[taken].items()}
            self._frames.append(frame_of(self._judge, values, rows[taken]))
            self.done[rows[taken]] = True
            for path in frame[columns.PATH].iloc[taken]:
                del self._position[path]

    @property
    def key(self) -> str:
        """A digest of the list of files, by their stamps."""
        return sha256(self.stamps.tobytes()).hexdigest()[:8]

    @property
    def to_do(self) -> Rows:
        """The positions of files that have no row."""
        return np.flatnonzero(~self.done)

    def to_send(self) -> Self:
        """Return what other processes need to score the files without a row."""
        sent = copy(self)
        sent._frames, sent._position = [], {}
        return sent

    def frame(self) -> pd.DataFrame:
        """Return all rows, in the order of the list."""
        return pd.concat(self._frames).sort_index()


@dataclass(frozen=True)
class FileParts:
    """The files of a list that have no row yet, by ranges of the list.

    Attributes:
        scorer: scores them.
        stored: where their rows go.
        known: the rows that are there.
        part_files: files of a part, with those that have a row.
    """

    scorer: FileScorer
    stored: StoredParts
    known: "KnownRows"
    part_files: int

    title = "score"

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what other processes do not need."""
        judge = self.scorer.judge.to_send()
        return {**self.__dict__, "scorer": replace(self.scorer, judge=judge), "known": self.known.to_send()}

    @property
    def uses_gpu(self) -> bool:
        return self.scorer.judge.device.type == "cuda"

    @property
    def sizes(self) -> Sequence[int]:
        to_do = self.known.to_do
        n_parts = -(-len(self.known.done) // self.part_files)
        return [int(n) for n in np.bincount(to_do // self.part_files, minlength=n_parts)]

    def missing(self) -> list[int]:
        self.known.update()
        return [part for part, size in enumerate(self.sizes) if size]

    def run(self, parts: Sequence[int], seat: Seat) -> Iterator[int]:
        to_do = self.known.to_do
        to_do = to_do[np.isin(to_do // self.part_files, parts)]
        use_device(self.scorer.judge.device.type)  # sets up this process
        scorer = self._scorer_at(seat)
        judge, reader = scorer.judge, scorer.listed.reader
        with (
            memory_in_one_line(f"ood.batch_size={scorer.batch_size}", "lower it"),
            judge.threads(scorer.batch_size, len(to_do), scorer.threads),
            self.stored.collecting() as writer,
        ):
            for rows, values in scorer.scored(to_do):
                paths = [os.fsencode(reader.path(row)) for row in rows]
                own = {columns.PATH: paths, **dict(zip(STAMPS, self.known.stamps[rows].T, strict=True))}
                writer.add(frame_of(judge, {**own, **values}, rows))
                yield len(rows)

    def _scorer_at(self, seat: Seat) -> FileScorer:
        """Return the scorer with the share of this machine's cores, and the GPU, that belong to a seat."""
        if seat.of == 1:
            return self.scorer
        decoders = (usable_cores() if self.scorer.num_workers is None else self.scorer.num_workers) // seat.of
        return replace(
            self.scorer,
            judge=self.scorer.judge.at(seat.index),
            num_workers=decoders if decoders > 1 else 0,
            threads=self.scorer.threads or max(1, most_threads() // seat.of),
        )

"""A table of results, and the computation of its missing rows."""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path

from results.commands import end_with_parent
from results.presets import PRESETS
from results.rows import Row, RowFile, RowLeftOut, Rows

logger = logging.getLogger(__name__)
SHOWN = 3  # names of rows that are left out for one reason


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        name: as typed.
        blocks: the rows -> Markdown by the name of its place in docs/results.
        compute: (name, project) -> the row, by its command. May raise `RowLeftOut`. None: rows are written by hand.
        stored: (name, project) -> the row from what is stored in data/; None: that does not tell how it was made.
        wanted: the stored rows -> the names of the rows that the table should have by then; asked again after these.
            None: the rows are those of PRESETS.
        rows: the file of its rows, where another table has the same.
        jobs: how many rows are computed at once, each in a process of its own; 1: in this process.
    """

    name: str
    blocks: Callable[[Rows], dict[str, str]]
    compute: Callable[[str, Path], Row] | None = None
    stored: Callable[[str, Path], Row] | None = None
    wanted: Callable[[Rows], Iterable[str]] | None = None
    rows: str | None = None
    jobs: int = 1

    def file(self, folder: Path) -> RowFile:
        """Return the file of the rows."""
        return RowFile(folder / f"{self.rows or self.name}.json")

    def names(self, rows: Rows) -> Sequence[str]:
        """Return the names of the rows that the table should have."""
        return PRESETS if self.wanted is None else list(self.wanted(rows))


def complete(table: Table, folder: Path, project: Path, only: Sequence[str] = (), *, from_data: bool = False) -> None:
    """Compute the rows that are missing, each stored as soon as it is computed.

    Args:
        table: the table.
        folder: of the files of rows.
        project: where commands run.
        only: names of rows; empty: those that the table wants.
        from_data: take the newest results in data/ instead of running commands, also for rows that are present.

    Raises:
        GlowPipelineError: a command failed, or another process computes rows of this table.
    """
    file = table.file(folder)
    compute = table.stored if from_data else table.compute
    if compute is None:
        return
    left_out: dict[str, list[str]] = {}
    with file.claimed():
        done = set[str]() if from_data else set(file.read())
        while missing := [name for name in only or table.names(file.read()) if name not in done]:
            for name, row in _computed(compute, missing, project, table.jobs):
                if isinstance(row, RowLeftOut):
                    left_out.setdefault(str(row), []).append(name)
                else:
                    file.add(name, row)
                done.add(name)
    for reason, names in left_out.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        logger.warning("%s: left out: %s%s: %s", table.name, "; ".join(names[:SHOWN]), more, reason)


def _computed(
    compute: Callable[[str, Path], Row], names: Sequence[str], project: Path, jobs: int
) -> Iterator[tuple[str, Row | RowLeftOut]]:
    """Yield each row with its name as soon as it is computed; an interruption ends all processes at once."""
    if jobs == 1:
        for name in names:
            yield name, _row(compute, name, project)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_worker, max_tasks_per_child=1) as pool:
        running = {pool.submit(_row, compute, name, project): name for name in names}
        try:
            for each in as_completed(running):
                yield running[each], each.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()


def _worker() -> None:
    """Leave Ctrl-C to the parent, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _row(compute: Callable[[str, Path], Row], name: str, project: Path) -> Row | RowLeftOut:
    try:
        return compute(name, project)
    except RowLeftOut as reason:
        return reason

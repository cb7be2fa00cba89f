"""A table: which rows it should have, how one is computed, and what a page shows of them."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from results.rows import Row, RowFile, Rows

logger = logging.getLogger(__name__)
SHOWN = 3  # names of rows that are left out for one reason


class RowLeftOut(Exception):  # noqa: N818  # no error: the other rows are computed
    """A row that cannot be computed here; the message says why, and what to do."""


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        name: as typed.
        wanted: the stored rows -> the names of the rows that the table should have by then; asked again after these.
        compute: (name, project) -> the row, by its command. May raise `RowLeftOut`.
        blocks: the rows -> Markdown by the name of its place in docs/results.
        stored: (name, project) -> the row from what is stored in data/; None: of this table nothing is stored there.
        rows: the file of its rows, where another table has the same.
        jobs: how many rows are computed at once, each in a process of its own; 1: in this process.
    """

    name: str
    wanted: Callable[[Rows], Iterable[str]]
    compute: Callable[[str, Path], Row]
    blocks: Callable[[Rows], dict[str, str]]
    stored: Callable[[str, Path], Row] | None = None
    rows: str | None = None
    jobs: int = 1

    def file(self, folder: Path) -> RowFile:
        """Return the file of the rows."""
        return RowFile(folder / f"{self.rows or self.name}.json")


def complete(table: Table, folder: Path, project: Path, only: Sequence[str] = (), *, from_data: bool = False) -> None:
    """Compute the rows that are missing, each stored as soon as it is computed.

    Args:
        table: the table.
        folder: of the files of rows.
        project: where commands run.
        only: names of rows; empty: those that the table wants.
        from_data: take the newest results in data/ instead of running commands, also for rows that are present.
    """
    file = table.file(folder)
    compute = table.stored if from_data else table.compute
    if compute is None:
        return
    done = set[str]() if from_data else set(file.read())
    left_out: dict[str, list[str]] = {}
    while missing := [name for name in (only or table.wanted(file.read())) if name not in done]:
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
    """Yield each row with its name as soon as it is computed."""
    if jobs == 1:
        for name in names:
            yield name, _row(compute, name, project)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(_row, compute, name, project): name for name in names}
        for each in as_completed(running):
            yield running[each], each.result()


def _row(compute: Callable[[str, Path], Row], name: str, project: Path) -> Row | RowLeftOut:
    try:
        return compute(name, project)
    except RowLeftOut as reason:
        return reason

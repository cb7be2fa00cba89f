"""The files of a table's folder: what they are called, and those beside the arrays, in parquet.

All are written and read in pieces, so that memory does not grow with the number of images, and their bytes do not
depend on the pieces that a writer is given.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import accumulate, chain, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from glow_pipeline.images.rows import TableRows

IMAGES, LABELS, CONTENT = "images.npy", "labels.npy", "content.npy"
PARTS = "parts.parquet"  # the files of images, where they are several
NAMES, UNREADABLE, RECORD = "names.parquet", "unreadable.parquet", "record.json"
# Beginnings of folders beside the versions of a table: of finished parts while it is made, of a part that a process
# writes (with its machine and process), and of what commands that make it together agree on.
UNFINISHED, SCRATCH, AGREED = ".parts-", ".making-", ".made-with-"
FEW_NAMES = "names.json"  # of up to IN_GROUP images, and of any number in tables from before December 2026
BESIDE_IMAGES = (LABELS, CONTENT, NAMES, FEW_NAMES, UNREADABLE)  # small files, of which the last three may be absent

IN_GROUP = 2**16  # rows that are written and read at once


def images_file(part: int) -> str:
    """Return the name of one of several files of images: `images-00003.npy`."""
    return f"images-{part:05}.npy"


@dataclass(frozen=True)
class PartFile:
    """One of several files of a table's images."""

    file: str
    count: int
    sha256: str


class UnreadableFile(NamedTuple):
    """A file that was left out of a table."""

    file: str
    reason: str


# Parts -------------------------------------------------------------------------------------------


def write_parts(path: Path, parts: Iterable[PartFile]) -> None:
    """Write which files hold the images, in the order of the rows."""
    _write(path, {"file": str, "count": int, "sha256": str}, [map(astuple, parts)])


def read_parts(path: Path) -> list[PartFile]:
    """Return the files that hold the images, in the order of the rows."""
    return [PartFile(*row) for row in _read(path)]


# Unreadable files --------------------------------------------------------------------------------


def write_unreadable(path: Path, chunks: Iterable[Iterable[tuple[str, str]]]) -> None:
    """Write the (file, reason) of files that were left out."""
    _write(path, {"file": str, "reason": str}, chunks)


def read_unreadable(path: Path) -> Iterator[UnreadableFile]:
    """Yield the files that were left out."""
    return (UnreadableFile(*row) for row in _read(path))


# Names -------------------------------------------------------------------------------------------


def write_names(folder: Path, chunks: Iterable[Iterable[str]]) -> None:
    """Write the names of the images' files, printable, in the order of the rows: a few as text, many as parquet."""
    names = chain.from_iterable(chunks)
    first = list(islice(names, IN_GROUP + 1))
    if len(first) <= IN_GROUP:
        (folder / FEW_NAMES).write_text(json.dumps(first, ensure_ascii=False, indent=0), encoding="utf-8")
    else:
        _write(folder / NAMES, {"name": str}, [((name,) for name in chain(first, names))])


class FileNames(Sequence[str]):
    """Names of many files, of which `IN_GROUP` are in memory at a time.

    Args:
        path: as `write_names` writes it.
        rows: the names that are wanted.
    """

    def __init__(self, path: Path, rows: TableRows) -> None:
        self._path = path
        self._rows = rows
        self._start, self._some = 0, list[str]()  # those in memory, from this one on

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "FileNames": ...
    def __getitem__(self, index: int | slice) -> "str | FileNames":
        if isinstance(index, slice):
            return FileNames(self._path, self._rows[index])
        index = range(len(self))[index]
        if not self._start <= index < self._start + len(self._some):
            self._start = index - index % IN_GROUP
            self._some = _read_names(self._path, self._rows[self._start : self._start + IN_GROUP])
        return self._some[index - self._start]


def read_names(path: Path, rows: TableRows) -> Sequence[str]:
    """Return the names of these rows.

    Args:
        path: as `write_names` writes it, of few images or many.
        rows: in any order.
    """
    if path.name == FEW_NAMES:
        names = json.loads(path.read_text(encoding="utf-8"))
        return [names[row] for row in rows]
    return FileNames(path, rows)


def _read_names(path: Path, rows: TableRows) -> list[str]:
    """Read the names of these rows, in any order; groups without any of them are not read."""
    from pyarrow import parquet

    wanted = np.asarray(rows, dtype=np.int64)
    order = np.argsort(wanted, kind="stable")
    found: list[str] = []
    with parquet.ParquetFile(path) as file:
        counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        starts = np.array([0, *accumulate(counts)])
        for group, (first, last) in enumerate(pairwise(np.searchsorted(wanted[order], starts).tolist())):
            if first < last:
                names = file.read_row_group(group, use_threads=False).column("name")
                found += names.take(wanted[order[first:last]] - starts[group]).to_pylist()
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return [found[place] for place in places.tolist()]


# Parquet -----------------------------------------------------------------------------------------


def _write(path: Path, columns: dict[str, type], chunks: Iterable[Iterable[tuple[Any, ...]]]) -> None:
    """Write rows in groups of `IN_GROUP`, whatever the size of the chunks."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.int64() if kind is int else pa.string()) for name, kind in columns.items()])
    rows = chain.from_iterable(chunks)
    # Opened by Python, whose errors say that the disk is full.
    with path.open("wb") as file, parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=False) as out:
        while group := list(islice(rows, IN_GROUP)):
            arrays = [
                pa.array(column, field.type) for column, field in zip(zip(*group, strict=True), schema, strict=True)
            ]
            out.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=IN_GROUP)


def _read(path: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the rows, a group at a time in memory."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield from zip(*(column.to_pylist() for column in file.read_row_group(group).columns), strict=True)

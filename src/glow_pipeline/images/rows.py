"""Rows of a table in few bytes: a range, int32 where the table has fewer than 2**31 images, or a bit an image."""

from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

CHUNK = 2**20  # rows that are worked on at once
LARGE = 2**24  # images of a table whose rows are bits in memory too: fewer take little memory, and no time to find
BLOCK = 64  # bytes of bits
PICKED = 2**14  # rows that are found at once: each takes several times BLOCK bytes meanwhile


class PackedRows:
    """Increasing rows of a table as one bit an image.

    Args:
        bits: of 8 images each.
    """

    def __init__(self, bits: NDArray[np.uint8]) -> None:
        self._blocks = np.pad(bits, (0, -len(bits) % BLOCK)).reshape(-1, BLOCK)

    def __len__(self) -> int:
        return int(self._before[-1])

    def __iter__(self) -> Iterator[int]:
        for start in range(0, len(self), CHUNK):
            yield from self[start : start + CHUNK].tolist()

    @overload
    def __getitem__(self, places: int) -> int: ...
    @overload
    def __getitem__(self, places: "slice | NDArray[Any]") -> NDArray[Any]: ...
    def __getitem__(self, places: "int | slice | NDArray[Any]") -> "int | NDArray[Any]":
        """Return the rows at these places, as an array of them all has them."""
        if isinstance(places, slice):
            chosen = range(len(self))[places]
            return self._between(chosen.start, chosen.stop) if chosen.step == 1 else self[np.array(chosen)]
        rows = places_of_range(range(len(self)), np.atleast_1d(np.asarray(places)))
        found = np.empty(len(rows), dtype=self._dtype)
        for start in range(0, len(rows), PICKED):
            found[start : start + PICKED] = self._at(np.asarray(rows[start : start + PICKED]))
        return found if np.ndim(places) else int(found[0])

    def _between(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows from one place on up to another."""
        if start >= stop:
            return np.empty(0, dtype=self._dtype)
        first, last = np.searchsorted(self._before, [start, stop - 1], side="right") - 1
        rows = np.flatnonzero(np.unpackbits(self._blocks[first : last + 1])).astype(self._dtype)
        before = int(self._before[first])
        return rows[start - before : stop - before] + self._dtype.type(8 * BLOCK * first)

    def _at(self, places: NDArray[Any]) -> NDArray[np.int64]:
        """Return the rows at places >= 0."""
        block = np.searchsorted(self._before, places, side="right") - 1
        counts = np.bitwise_count(self._blocks[block]).cumsum(axis=1, dtype=np.uint16)  # up to each byte's end
        left = (places - self._before[block]).astype(np.uint16)  # rows of the block before the wanted one
        byte = (counts <= left[:, None]).sum(axis=1)
        here = np.arange(len(places))
        left -= np.where(byte, counts[here, byte - 1], 0).astype(np.uint16)
        bits = np.unpackbits(self._blocks[block, byte][:, None], axis=1)
        bit = (bits.cumsum(axis=1, dtype=np.uint8) <= left[:, None]).sum(axis=1)
        return 8 * (BLOCK * block + byte) + bit

    @cached_property
    def _before(self) -> NDArray[np.int64]:
        """Number of rows before each block, and that of all."""
        of_blocks = np.bitwise_count(self._blocks).sum(axis=1, dtype=np.int64)
        return np.concatenate([[0], of_blocks.cumsum()])

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int32 if 8 * self._blocks.size < 2**31 else np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {"_blocks": self._blocks}


Rows = range | NDArray[np.int32] | NDArray[np.int64]  # of a table
TableRows = Rows | PackedRows  # those of an ImageTable
Places = Rows | NDArray[np.bool_] | slice  # of some of its rows


def in_few_bytes(rows: TableRows, count: int) -> TableRows:
    """Return rows of a table of so many images as int32 if they fit."""
    return rows.astype(np.int32, copy=False) if isinstance(rows, np.ndarray) and count < 2**31 else rows


def random_order(n: int, generator: torch.Generator) -> NDArray[np.int32] | NDArray[np.int64]:
    """Return `torch.randperm(n)` in few bytes: the same order, which does not depend on the type."""
    return torch.randperm(n, generator=generator, dtype=torch.int32 if n < 2**31 else torch.int64).numpy()


def rows_where(values: NDArray[Any], value: object) -> TableRows:
    """Return `np.flatnonzero(values == value)` in few bytes, and without an array of eight times as many."""
    starts = range(0, len(values), CHUNK)
    counts = [np.count_nonzero(values[start : start + CHUNK] == value) for start in starts]
    if len(values) >= LARGE and sum(counts) > len(values) // 32:
        return PackedRows(np.packbits(values == value))
    rows: NDArray[Any] = np.empty(sum(counts), dtype=np.int32 if len(values) < 2**31 else np.int64)
    for start, first, last in zip(starts, [0, *accumulate(counts)], accumulate(counts), strict=False):
        rows[first:last] = start + np.flatnonzero(values[start : start + CHUNK] == value)
    return rows


def places_of_range(rows: range, places: NDArray[Any]) -> NDArray[Any]:
    """Return `np.array(rows)[places]` without that array.

    Raises:
        IndexError: there are not so many rows.
    """
    if places.dtype == bool:
        if len(places) != len(rows):
            raise IndexError(f"{len(places)} places of {len(rows)} images")
        places = np.flatnonzero(places)
    if not len(places):
        return np.empty(0, dtype=np.int64)
    least, most = places.min(), places.max()
    if least < -len(rows) or most >= len(rows):
        raise IndexError(f"{least} to {most}: there are {len(rows)} images")
    if least < 0:
        places = np.where(places < 0, places + len(rows), places)
    return places if rows.start == 0 and rows.step == 1 else rows.start + rows.step * places.astype(np.int64)


def packed(rows: TableRows, count: int) -> TableRows:
    """Return rows of a table of so many images in as few bytes as they take."""
    if not isinstance(rows, np.ndarray) or 8 * rows.nbytes <= count or not (rows[1:] > rows[:-1]).all():
        return rows
    mask = np.zeros(count, dtype=np.bool_)
    mask[rows] = True
    return PackedRows(np.packbits(mask))


def as_array(rows: TableRows) -> NDArray[np.int64]:
    """Return the rows as an array."""
    if isinstance(rows, range):
        return np.arange(rows.start, rows.stop, rows.step)
    return rows[:].astype(np.int64, copy=False)


def between(rows: Rows, start: int, stop: int) -> NDArray[np.int64]:
    """Return those of the rows, which are in order and follow each other if they are a range, in [start, stop)."""
    if isinstance(rows, range):
        first = max(rows.start, start)
        return np.arange(first, max(first, min(rows.stop, stop)))
    return as_array(rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)])

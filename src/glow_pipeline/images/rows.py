"""Rows of a table in few bytes: a range, or int32 where the table has fewer than 2**31 images."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Rows = range | NDArray[np.int32] | NDArray[np.int64]  # of a table
Places = Rows | NDArray[np.bool_] | slice  # of some of its rows
CHUNK = 2**20  # rows that are worked on at once


def in_few_bytes(rows: Rows, count: int) -> Rows:
    """Return rows of a table of so many images as int32 if they fit."""
    return rows.astype(np.int32, copy=False) if isinstance(rows, np.ndarray) and count < 2**31 else rows


def random_order(n: int, generator: torch.Generator) -> NDArray[np.int32] | NDArray[np.int64]:
    """Return `torch.randperm(n)` in few bytes: the same order, which does not depend on the type."""
    return torch.randperm(n, generator=generator, dtype=torch.int32 if n < 2**31 else torch.int64).numpy()


def rows_where(values: NDArray[Any], value: object) -> Rows:
    """Return `np.flatnonzero(values == value)` in few bytes, and without an array of the size of `values`."""
    starts = range(0, len(values), CHUNK)
    counts = [np.count_nonzero(values[start : start + CHUNK] == value) for start in starts]
    rows: NDArray[Any] = np.empty(sum(counts), dtype=np.int32 if len(values) < 2**31 else np.int64)
    for start, first, last in zip(starts, [0, *accumulate(counts)], accumulate(counts), strict=False):
        rows[first:last] = start + np.flatnonzero(values[start : start + CHUNK] == value)
    return rows


def places_of_range(rows: range, places: NDArray[Any]) -> Rows:
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


@dataclass(frozen=True)
class PackedRows:
    """Increasing rows of a table as one bit an image, to be sent to a process.

    Attributes:
        bits: of 8 images each.
        count: number of images of the table.
    """

    bits: NDArray[np.uint8]
    count: int

    def unpacked(self) -> Rows:
        return rows_where(np.unpackbits(self.bits, count=self.count), 1)


def packed(rows: Rows, count: int) -> Rows | PackedRows:
    """Return rows of a table of so many images in as few bytes as they take."""
    if isinstance(rows, range) or 8 * rows.nbytes <= count or not (rows[1:] > rows[:-1]).all():
        return rows
    mask = np.zeros(count, dtype=np.bool_)
    mask[rows] = True
    return PackedRows(np.packbits(mask), count)


def as_array(rows: Rows) -> NDArray[np.int64]:
    """Return the rows as an array."""
    return np.arange(rows.start, rows.stop, rows.step) if isinstance(rows, range) else rows.astype(np.int64, copy=False)


def between(rows: Rows, start: int, stop: int) -> NDArray[np.int64]:
    """Return those of the rows, which are in order and follow each other if they are a range, in [start, stop)."""
    if isinstance(rows, range):
        first = max(rows.start, start)
        return np.arange(first, max(first, min(rows.stop, stop)))
    return as_array(rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)])

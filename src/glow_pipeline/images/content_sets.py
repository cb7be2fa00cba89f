"""Sets of content hashes, of which a large table has as many as images: no array of them is copied without need."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.images.rows import CHUNK

Hashes = NDArray[np.int64]
AT_ONCE = 2**24  # hashes that are sorted at once


class Sliceable(Protocol):
    """Hashes in an array, or in a file of which slices are read (`table.StoredHashes`)."""

    def __len__(self) -> int: ...
    def __getitem__(self, places: slice, /) -> Hashes: ...


def pieces(hashes: Sliceable) -> Iterator[Hashes]:
    """Yield the hashes some at a time."""
    for start in range(0, len(hashes), CHUNK):
        yield hashes[start : start + CHUNK]


def are_among(hashes: Sliceable, known: Iterable[Sliceable]) -> NDArray[np.bool_]:
    """Return for each hash (N,) whether it is one of the others, which may be many more."""
    own = distinct([hashes])
    if not len(own):
        return np.zeros(len(hashes), dtype=np.bool_)
    found = np.zeros(len(own), dtype=np.bool_)
    for array in known:
        for piece in pieces(array):
            others = np.sort(piece)  # sorted, the search stays within the cache
            places = np.searchsorted(own, others).clip(max=len(own) - 1)
            found[places[own[places] == others]] = True
    among = np.empty(len(hashes), dtype=np.bool_)
    for number, piece in enumerate(pieces(hashes)):
        order = np.argsort(piece)
        among[number * CHUNK + order] = found[np.searchsorted(own, piece[order])]
    return among


def count_distinct(tables: Sequence[Sliceable]) -> int:
    """Return the number of different hashes, of which those of a range of values are in memory at a time."""
    return sum(len(some) for some in _distinct_by_range(tables))


def distinct(tables: Sequence[Sliceable]) -> Hashes:
    """Return the different hashes, sorted."""
    result, end = np.empty(sum(map(len, tables)), dtype=np.int64), 0
    for some in _distinct_by_range(tables):
        result[end : end + len(some)] = some
        end += len(some)
    return result[:end]


def _distinct_by_range(tables: Sequence[Sliceable]) -> Iterator[Hashes]:
    """Yield the different hashes, sorted, of one range of values after the other."""
    bits = (sum(map(len, tables)) // AT_ONCE).bit_length()
    for first in range(-(2**bits // 2), (2**bits + 1) // 2):  # of the upper bits, with the sign
        some = [piece[piece >> (64 - bits) == first] if bits else piece for table in tables for piece in pieces(table)]
        hashes = np.concatenate([np.empty(0, dtype=np.int64), *some])
        hashes.sort()
        differs = np.ones(len(hashes), dtype=np.bool_)
        np.not_equal(hashes[1:], hashes[:-1], out=differs[1:])
        yield hashes if differs.all() else hashes[differs]

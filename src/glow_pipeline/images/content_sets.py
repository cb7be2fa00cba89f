"""Sets of content hashes, of which a large table has as many as images: no array of them is copied without need."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.images.rows import CHUNK

Hashes = NDArray[np.int64]
AT_ONCE = 2**24  # hashes that are sorted at once


def are_among(hashes: Hashes, known: Iterable[Hashes]) -> NDArray[np.bool_]:
    """Return for each hash (N,) whether it is in one of the other arrays, which may be much larger."""
    own, place = np.unique(hashes, return_inverse=True)
    found = np.zeros(len(own), dtype=np.bool_)
    for array in known if len(own) else ():
        for start in range(0, len(array), CHUNK):
            others = np.sort(array[start : start + CHUNK])  # sorted, the search stays within the cache
            at = np.searchsorted(own, others).clip(max=len(own) - 1)
            found[at[own[at] == others]] = True
    return found[place]


def count_distinct(chunks: Callable[[], Iterable[Hashes]], count: int) -> int:
    """Return the number of different hashes, of which those of a range of values are in memory at a time.

    Args:
        chunks: yields all hashes, some at a time; called once for each range.
        count: number of all hashes.
    """
    bits = max(0, (count // AT_ONCE).bit_length())
    total = 0
    for part in range(2**bits):
        first = part - 2**bits // 2  # of the upper bits, with the sign
        total += len(distinct([chunk[chunk >> (64 - bits) == first] if bits else chunk for chunk in chunks()]))
    return total


def distinct(tables: Sequence[Hashes]) -> Hashes:
    """Return the different hashes of some arrays, sorted."""
    hashes = np.concatenate([np.empty(0, dtype=np.int64), *tables])
    hashes.sort()
    differs = np.ones(len(hashes), dtype=np.bool_)
    np.not_equal(hashes[1:], hashes[:-1], out=differs[1:])
    return hashes if differs.all() else hashes[differs]

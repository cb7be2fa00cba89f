"""Histograms of a score so fine that metrics, ranks and curves of any number of images follow from them.

Above some millions of images the exact numbers would need all scores in memory, sorted. A histogram needs two passes
over the rows. Its bins have ends at quantiles of both sets, so that no bin holds more than a few millionths of a set,
whatever the scores are: ties of many images, infinities and numbers like 1e30 have bins of their own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.outliers.metrics import ordered
from glow_pipeline.outliers.score_table import IS_OUT, ScoreTable
from glow_pipeline.randomness import key

BINS = 2**17  # of each set
SAMPLED = 4  # scores a bin from which its ends are chosen

Piece = tuple[NDArray[np.bool_], NDArray[np.floating]]  # whether rows are outliers, and their scores, each (n,)
Pieces = Callable[[], Iterable[Piece]]  # reads all rows once more


@dataclass(frozen=True)
class ScoreHistogram:
    """Numbers of images of both sets by their scores, from the lowest.

    Attributes:
        lower: (k,), rising; bin i holds scores from lower[i] to below lower[i + 1], and the last one infinity.
        n_in, n_out: (k,) int64, images of both sets in each bin.
    """

    lower: NDArray[np.float64]
    n_in: NDArray[np.int64]
    n_out: NDArray[np.int64]

    @cached_property
    def is_one_score(self) -> NDArray[np.bool_]:
        """True where a bin holds one score alone, (k,): its images are tied, and nothing is unknown of their order."""
        alone = np.append(_next(self.lower[:-1]) == self.lower[1:], True)
        alone[0] = True  # -infinity: the second bin begins at the lowest finite score
        return alone

    def bin_of(self, score: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the bin of each score, (n,)."""
        return np.searchsorted(self.lower, ordered(score), side="right") - 1

    def ranks(self, score: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the rank of each score among all images, (n,), 1 for the highest, exact to a bin."""
        return self._ranks[self.bin_of(score)]

    @cached_property
    def _ranks(self) -> NDArray[np.int64]:
        both = self.n_in + self.n_out
        return 1 + both.sum() - both.cumsum()

    def roc_points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the false and true positive rates at the ends of the bins, from (0, 0) to (1, 1), each (k + 1,)."""
        flagged_in, flagged_out = (np.append(0, counts[::-1].cumsum()) for counts in (self.n_in, self.n_out))
        return flagged_in / flagged_in[-1], flagged_out / flagged_out[-1]


def pieces_of(table: ScoreTable, column: str) -> Pieces:
    """Return a function that reads the readable rows of a table, piece by piece."""

    def read() -> Iterable[Piece]:
        for frame in table.readable([IS_OUT, column]):
            yield frame[IS_OUT].to_numpy(dtype=bool), frame[column].to_numpy(dtype=np.float64)

    return read


def count_images(table: ScoreTable) -> tuple[int, int]:
    """Return the numbers of in-distribution images and of outliers that could be read."""
    n_in = n_out = 0
    for frame in table.readable([IS_OUT]):
        outliers = int(frame[IS_OUT].to_numpy(dtype=bool).sum())
        n_in, n_out = n_in + len(frame) - outliers, n_out + outliers
    return n_in, n_out


def score_histogram(pieces: Pieces, n_in: int, n_out: int, bins: int = BINS) -> ScoreHistogram:
    """Return the histogram of a score, in two passes: one chooses the bins, the other counts.

    Args:
        pieces: reads the rows; it is called twice.
        n_in, n_out: images of both sets.
        bins: quantiles of each set at which a bin begins; those of few distinct scores begin at each score.
    """
    lower = _lower_ends(pieces(), n_in, n_out, bins)
    counts = np.zeros((2, len(lower)), dtype=np.int64)
    for is_out, score in pieces():
        for out, count in enumerate(counts):
            # Sorted scores are found several times as fast: neighbours are near one another in the cache.
            place = np.searchsorted(lower, np.sort(ordered(score[is_out == out])), side="right") - 1
            count += np.bincount(place, minlength=len(lower))
    return ScoreHistogram(lower, *counts)


def _lower_ends(pieces: Iterable[Piece], n_in: int, n_out: int, bins: int) -> NDArray[np.float64]:
    """Return the lower ends of bins, (k,).

    They begin at -infinity, the lowest finite score, quantiles of a sample of each set, and infinity. A bin holds a
    score alone that fills a bin of the sample, or where the sample has few distinct scores.
    """
    samples = [_Sample(n, bins * SAMPLED) for n in (n_in, n_out)]
    lowest, highest = np.inf, -np.inf
    for is_out, score in pieces:
        finite = score[np.isfinite(score)]
        lowest, highest = finite.min(initial=lowest), finite.max(initial=highest)
        for out, sample in enumerate(samples):
            sample.add(ordered(score[is_out == out]))
    ends = [np.array([-np.inf, np.inf])]
    if lowest <= highest:
        ends += [np.array([lowest, highest]), _next(np.array([highest]))]
    for sample in samples:
        values = np.sort(np.concatenate(sample.taken))
        distinct, first, count = np.unique(values, return_index=True, return_counts=True)
        # Of each `bins`-th part of the sample the first score that begins in it.
        chosen = np.unique(first * bins // max(1, len(values)), return_index=True)[1]
        tied = distinct if len(distinct) <= bins else distinct[count * bins >= len(values)]
        ends += [distinct[chosen], tied, _next(tied)]
    return np.unique(np.concatenate(ends))


def _next(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the next larger number of each."""
    with np.errstate(over="ignore"):  # infinity is the next of the largest
        return np.nextafter(score, np.inf)


class _Sample:
    """A sample of the scores of one set, spread over its rows: one of each `step`, at a place that chance chooses.

    Args:
        n: scores of the set.
        size: scores to take; all of a set of fewer.
    """

    def __init__(self, n: int, size: int) -> None:
        self._step = max(1, n // size)
        self._random = np.random.default_rng(key(0, "histogram") % 2**64)
        self.taken: list[NDArray[np.floating]] = []

    def add(self, scores: NDArray[np.floating]) -> None:
        """Take some of these scores."""
        starts = np.arange(0, len(scores), self._step)
        chosen = starts + self._random.integers(self._step, size=len(starts))
        self.taken.append(scores[chosen[chosen < len(scores)]])

"""Detection metrics of so many images that they are computed from histograms, and how far they can be off.

The metrics are those of `metrics.metrics_of_counts`, for which images in one bin are tied. The exact ones would know
their order. Whatever it is, the metrics stay between limits that follow from the counts, so the error is never larger
than the one that is returned with them.

Intervals of a score's metrics come from resamples of its bins (multinomial), which equal resamples of its images. Two
scores are compared on the same images, which their histograms do not know of each other; the interval of a difference
of two AUROCs is therefore that of its standard error (DeLong et al. 1988, doi:10.2307/2531595), from one more pass.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from glow_pipeline.outliers.bootstrap import COVERAGE, SHOW_AFTER, Resampled, intervals
from glow_pipeline.outliers.metrics import METRICS, metrics_of_counts
from glow_pipeline.outliers.score_histogram import ScoreHistogram
from glow_pipeline.outliers.score_table import IS_OUT, ScoreTable
from glow_pipeline.randomness import key

ERROR = "histogram_error"  # metric: the largest possible error of a score's metrics


def histogram_metrics(histogram: ScoreHistogram, draws: int, seed: int) -> dict[str, float]:
    """Return the metrics of `METRICS` with the limits of their intervals, and `histogram_error`, a bound of the error.

    Args:
        histogram: of both sets.
        draws: resamples for the intervals; 0: no intervals.
        seed: the run's seed.
    """
    measured = metrics_of_counts(histogram.n_in[::-1], histogram.n_out[::-1])
    limits = intervals(_resampled(histogram, draws, seed))
    return {**measured, **limits, ERROR: max(_errors(histogram).values())}


def auroc_differences(
    table: ScoreTable,
    columns: Mapping[str, str],
    histograms: Mapping[str, ScoreHistogram],
    references: Sequence[str],
    with_limits: bool,
) -> dict[str, dict[str, float]]:
    """Return the AUROC of each score minus that of each reference, with the limits of its interval.

    Args:
        table: the rows.
        columns: name of a score -> its column.
        histograms: of these scores.
        references: names of some of them.
        with_limits: whether to compute limits, in one pass over the rows.

    Returns:
        Name of the score -> `auroc_minus_<reference>`, and its limits.
    """
    pairs = [(name, reference) for name in columns for reference in references if name != reference]
    placements = {name: _Placements.of(histogram) for name, histogram in histograms.items()}
    sums = {pair: _Moments() for pair in pairs}
    if pairs and with_limits:
        for frame in table.readable([IS_OUT, *dict.fromkeys(columns.values())]):
            is_out = frame[IS_OUT].to_numpy(dtype=bool)
            placed = {
                name: placements[name].of_rows(is_out, frame[column].to_numpy(dtype=np.float64))
                for name, column in columns.items()
            }
            for (name, reference), moments in sums.items():
                moments.add(is_out, placed[name] - placed[reference])
    results: dict[str, dict[str, float]] = {name: {} for name in columns}
    for (name, reference), moments in sums.items():
        difference = placements[name].auroc - placements[reference].auroc
        metric = f"auroc_minus_{reference}"
        results[name][metric] = difference
        if with_limits:
            reach = NormalDist().inv_cdf((1 + COVERAGE) / 2) * moments.standard_error()
            results[name] |= {f"{metric}_low": difference - reach, f"{metric}_high": difference + reach}
    return results


def _resampled(histogram: ScoreHistogram, draws: int, seed: int) -> Resampled:
    """Return each metric of each resample of the images, (draws,)."""
    some = np.flatnonzero(histogram.n_in + histogram.n_out)[::-1]
    n_in, n_out = histogram.n_in[some], histogram.n_out[some]
    scratch, random = np.empty((6, len(some))), np.random.default_rng(key(seed, "bootstrap") % 2**64)
    results = {metric: np.empty(draws) for metric in METRICS}
    for draw in tqdm(range(draws), desc="bootstrap", unit="draw", delay=SHOW_AFTER, leave=False):
        measured = metrics_of_counts(_redrawn(n_in, random), _redrawn(n_out, random), scratch)
        for metric in METRICS:
            results[metric][draw] = measured[metric]
    return results


def _redrawn(counts: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Return the counts of a resample of all images, with replacement."""
    total = int(counts.sum())
    drawn: NDArray[np.int64] = random.multinomial(total, counts / total)
    return drawn


def _errors(histogram: ScoreHistogram) -> dict[str, float]:
    """Return how far each metric can be from the exact one."""
    n_in, n_out = histogram.n_in[::-1].astype(float), histogram.n_out[::-1].astype(float)
    unknown = ~histogram.is_one_score[::-1]  # the order within these bins
    total_in, total_out = n_in.sum(), n_out.sum()
    to_find, found = math.ceil(95 * int(total_out) / 100), n_out.cumsum()
    threshold = np.searchsorted(found, to_find)
    fpr = float(unknown[threshold] * n_in[threshold] / total_in)
    tpr = float(unknown[threshold] * (found[threshold] - to_find) / total_out)
    return {
        "auroc": float((n_in * n_out)[unknown].sum() / (2 * total_in * total_out)),
        "aupr_out": _aupr_error(n_out, n_in, unknown),
        "aupr_in": _aupr_error(n_in[::-1], n_out[::-1], unknown[::-1]),
        "fpr_at_95_tpr": fpr,
        "detection_error": max(fpr, tpr) / 2,
    }


def _aupr_error(positive: NDArray[np.float64], negative: NDArray[np.float64], unknown: NDArray[np.bool_]) -> float:
    """Return how far the area under precision and recall can be from the exact one.

    In a bin the precision is lowest if all negatives come first, highest if all positives do, and the area that
    the bin adds is its share of the positives times something between.

    Args:
        positive, negative: (k,), counts in bins, from the one that is flagged first.
        unknown: (k,), whether the order within a bin is unknown.
    """
    after, after_negative = positive.cumsum(), negative.cumsum()
    before, before_negative = after - positive, after_negative - negative
    some = unknown & (positive > 0) & (after_negative > 0)
    lowest = before[some] / (before[some] + after_negative[some])
    highest = after[some] / (after[some] + before_negative[some])
    return float((positive[some] * (highest - lowest)).sum() / positive.sum())


@dataclass(frozen=True)
class _Placements:
    """Placement of each image among those of the other set, by bin (DeLong): its share of correctly ordered pairs.

    Attributes:
        histogram: of both sets.
        inside, outside: (k,), of an in-distribution image and of an outlier in each bin.
        auroc: the mean of either.
    """

    histogram: ScoreHistogram
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    auroc: float

    @classmethod
    def of(cls, histogram: ScoreHistogram) -> "_Placements":
        n_in, n_out = histogram.n_in, histogram.n_out
        inside = 1 - (n_out.cumsum() - n_out / 2) / n_out.sum()
        outside = (n_in.cumsum() - n_in / 2) / n_in.sum()
        return cls(histogram, inside, outside, float((n_out * outside).sum() / n_out.sum()))

    def of_rows(self, is_out: NDArray[np.bool_], score: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the placement of each row, (n,)."""
        place = self.histogram.bin_of(score)
        return np.where(is_out, self.outside[place], self.inside[place])


class _Moments:
    """Number, sum and sum of squares of numbers in both sets."""

    def __init__(self) -> None:
        self._sums = np.zeros((2, 3))

    def add(self, is_out: NDArray[np.bool_], numbers: NDArray[np.float64]) -> None:
        for out, sums in enumerate(self._sums):
            own = numbers[is_out == out]
            sums += len(own), own.sum(), np.square(own).sum()

    def standard_error(self) -> float:
        """Return the standard error of the sum of both sets' means, which is that of a difference of AUROCs."""
        n, total, squares = self._sums.T
        return float(np.sqrt(((squares - total**2 / n) / n / np.maximum(n - 1, 1)).sum()))

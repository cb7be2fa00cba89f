"""The metrics of several scores, of a table of scores."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.outliers.bootstrap import metrics_with_intervals
from glow_pipeline.outliers.histogram_metrics import auroc_differences, histogram_metrics
from glow_pipeline.outliers.metric_names import MAIN, REFERENCES, metric_name
from glow_pipeline.outliers.metrics import check_numbers, finite_mean
from glow_pipeline.outliers.score_histogram import count_images, pieces_of, score_histogram
from glow_pipeline.outliers.score_table import IS_OUT, ScoreTable
from glow_pipeline.outliers.scores.score import Score

MOST_EXACT = 10_000_000  # images; metrics of more are computed from histograms
HISTOGRAM = "histogram"


def score_metrics(
    scores: Sequence[Score],
    values: Mapping[str, NDArray[np.floating]],
    is_out: NDArray[np.bool_],
    draws: int,
    seed: int,
) -> dict[str, object]:
    """Return the metrics of each score.

    Args:
        scores: the requested ones, the main one first.
        values: column -> (n,).
        is_out: (n,), true for the outliers.
        draws: resamples of the images for intervals; 0: no intervals.
        seed: the run's seed.

    Returns:
        For each score the metrics of `detection_metrics` with the limits of their 95% intervals (`auroc_low`,
        `auroc_high`, ...); the difference of its AUROC to that of each reference among the scores
        (`auroc_minus_complexity`, and its limits on the same resamples); the two means of its finite values
        (in_bits_per_dim, out_bits_per_dim); and how many values are not finite (n_not_finite_in and _out).
    """
    columns = {score.name: values[score.column] for score in scores}
    measured = metrics_with_intervals(is_out, columns, REFERENCES, draws, seed)
    metrics: dict[str, object] = {MAIN: scores[0].name}
    for score in scores:
        own = {**measured[score.name], **_finite_values(score, columns[score.name], is_out)}
        metrics |= {metric_name(key, score, scores[0]): number for key, number in own.items()}
    return metrics


def metrics_of_table(
    scores: Sequence[Score], table: ScoreTable, draws: int, seed: int, most_exact: int = MOST_EXACT
) -> dict[str, object]:
    """Return the metrics of each score as `score_metrics` does, and the numbers of images, n_in and n_out.

    Of more than `most_exact` images they are computed from histograms, in the memory of one: `metrics_from` says so,
    and `histogram_error` how far the metrics of a score can be from the exact ones.

    Raises:
        GlowPipelineError: all images are of one kind.
    """
    n_in, n_out = count_images(table)
    check_numbers(n_in, n_out)
    numbers = {"n_in": n_in, "n_out": n_out}
    if n_in + n_out > most_exact:
        return {**_metrics_from_histograms(scores, table, n_in, n_out, draws, seed), **numbers}
    is_out = np.concatenate([frame[IS_OUT].to_numpy(dtype=bool) for frame in table.readable([IS_OUT])])
    values = {
        score.column: np.concatenate([value for _, value in pieces_of(table, score.column)()]) for score in scores
    }
    return {**score_metrics(scores, values, is_out, draws, seed), **numbers}


def _metrics_from_histograms(
    scores: Sequence[Score], table: ScoreTable, n_in: int, n_out: int, draws: int, seed: int
) -> dict[str, object]:
    columns = {score.name: score.column for score in scores}
    histograms = {name: score_histogram(pieces_of(table, column), n_in, n_out) for name, column in columns.items()}
    references = [name for name in REFERENCES if name in columns]
    differences = auroc_differences(table, columns, histograms, references, with_limits=draws > 0)
    metrics: dict[str, object] = {MAIN: scores[0].name, "metrics_from": HISTOGRAM}
    for score in scores:
        measured = histogram_metrics(histograms[score.name], draws, seed)
        own = {**measured, **differences[score.name], **_finite_values_in_pieces(score, table)}
        metrics |= {metric_name(key, score, scores[0]): number for key, number in own.items()}
    return metrics


def _finite_values_in_pieces(score: Score, table: ScoreTable) -> dict[str, object]:
    """Return the same as `_finite_values`, in one pass over a table."""
    number, finite, total = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64), np.zeros(2)
    for is_out, value in pieces_of(table, score.column)():
        for out in (0, 1):
            own = value[is_out == out]
            known = own[np.isfinite(own)]
            number[out] += len(own)
            finite[out] += len(known)
            total[out] += known.sum()
    means = [float(total[out] / finite[out]) if finite[out] else None for out in (0, 1)]
    return {
        f"in_{score.mean_name}": means[0],
        f"out_{score.mean_name}": means[1],
        "n_not_finite_in": int(number[0] - finite[0]),
        "n_not_finite_out": int(number[1] - finite[1]),
    }


def _finite_values(score: Score, value: NDArray[np.floating], is_out: NDArray[np.bool_]) -> dict[str, object]:
    """Return the means of a score's finite values in both sets, and the numbers of the others."""
    (in_mean, in_not_finite), (out_mean, out_not_finite) = map(finite_mean, (value[~is_out], value[is_out]))
    return {
        f"in_{score.mean_name}": in_mean,
        f"out_{score.mean_name}": out_mean,
        "n_not_finite_in": in_not_finite,
        "n_not_finite_out": out_not_finite,
    }

"""Names and values of the metrics of several scores, and the lines that a person reads.

The metrics of the main score have plain names (`auroc`), those of another one are followed by its name
(`auroc.complexity`). So a run with several scores stays comparable with a run of the main score alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.outliers.bootstrap import COVERAGE, metrics_with_intervals
from glow_pipeline.outliers.histogram_metrics import ERROR, auroc_differences, histogram_metrics
from glow_pipeline.outliers.metrics import check_numbers, finite_mean
from glow_pipeline.outliers.score_histogram import count_images, pieces_of, score_histogram
from glow_pipeline.outliers.score_table import IS_OUT, ScoreTable
from glow_pipeline.outliers.scores.registry import SCORES
from glow_pipeline.outliers.scores.score import Score

MOST_EXACT = 10_000_000  # images; metrics of more are computed from histograms
HISTOGRAM = "histogram"
MAIN = "main_score"  # key of the main score's name among the metrics
CONTROL = "complexity"  # needs no model: where it is as good, the model adds nothing
REFERENCES = ("nll", CONTROL)  # each other score's AUROC is compared with theirs
LIMITS = ("_low", "_high")
MOST_PRINTED = 6  # scores beside the main one among the last lines of a command


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


def metric_name(key: str, score: Score, main: Score) -> str:
    """Return the name of a metric of a score: `auroc` of the main one, `auroc.complexity` of another."""
    return key if score is main else f"{key}.{score.name}"


def scores_in(metrics: Mapping[str, Any]) -> list[Score]:
    """Return the scores that these metrics are of, the main one first; none if they are no metrics of detection."""
    if "auroc" not in metrics:
        return []
    # Metrics of earlier versions do not name their score: the first of the registry.
    main = SCORES.get(metrics.get(MAIN, next(iter(SCORES))))
    if main is None:  # of a user's own file that is gone
        return []
    others = (score for score in SCORES.values() if metric_name("auroc", score, main) in metrics)
    return [main, *(score for score in others if score is not main)]


def compared_with(scores: Sequence[Score]) -> list[Score]:
    """Return the scores other than the main one, which is the first: references first."""
    others = {score.name: score for score in scores[1:]}
    return [others[name] for name in dict.fromkeys((*REFERENCES, *others)) if name in others]


def tracked_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among metrics that MLflow records, where each costs a request and a chart.

    Limits of the other scores' intervals are left out, except those of the AUROC; the file of metrics has all.
    """
    scores = scores_in(metrics)
    left_out = {
        name
        for score in scores[1:]
        for name in metrics
        for key in [name.removesuffix(f".{score.name}")]
        if key != name and key.endswith(LIMITS) and key not in ("auroc_low", "auroc_high")
    }
    return {key: value for key, value in metrics.items() if isinstance(value, int | float) and key not in left_out}


def lines_of_scores(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return metric -> meaning, in the order to print: the main score's, then the AUROC of others, best first.

    Of many others these are the best and the worst.
    """
    scores = scores_in(metrics)
    if not scores:
        return {}
    main, *others = scores
    lines = {
        "auroc": f"AUROC of {main.name} ({main.summary}), outliers positive",
        "aupr_out": "AUPR, outliers positive",
        "aupr_in": "AUPR, in-distribution positive",
        "fpr_at_95_tpr": "false positives at 95% true positives",
    }
    aurocs = {metric_name("auroc", score, main): score for score in others}
    best_first = sorted(aurocs, key=lambda key: -metrics[key])
    printed = best_first if len(best_first) <= MOST_PRINTED else [*best_first[: MOST_PRINTED - 1], best_first[-1]]
    for key in printed:
        lines[key] = f"AUROC of {aurocs[key].name}"
    limits = {key: _limits(key, metrics) for key in lines}
    brackets = {key: f" ({limits[key]})" if limits[key] else "" for key in lines}
    if limits["auroc"]:  # the first line says what the limits in brackets are
        brackets["auroc"] = f", {COVERAGE:.0%} interval {limits['auroc']}"
    if len(printed) < len(best_first):
        brackets[printed[-1]] += f", the lowest of {len(others)} others; ood_metrics has all"
    return {key: meaning + brackets[key] for key, meaning in lines.items()}


def warnings_of_scores(metrics: Mapping[str, Any]) -> list[str]:
    """Return sentences on values that are not finite, scores worse than chance, and a model that adds nothing.

    Of metrics that are not exact they say so, too.
    """
    scores = scores_in(metrics)
    return [
        *_not_exact(scores, metrics),
        *_not_finite(scores, metrics),
        *_below_chance(scores, metrics),
        *_no_better_than_control(scores, metrics),
    ]


def _not_exact(scores: Sequence[Score], metrics: Mapping[str, Any]) -> list[str]:
    """Return a sentence where metrics are computed from histograms."""
    if metrics.get("metrics_from") != HISTOGRAM:
        return []
    error = max(metrics[metric_name(ERROR, score, scores[0])] for score in scores)
    return [
        f"The metrics of these {metrics['n_in'] + metrics['n_out']:,} images are computed from histograms of the "
        f"scores; they differ by less than {math.floor(1e6 * error + 1) / 1e6:f} from those of the single images."
    ]


def _not_finite(scores: Sequence[Score], metrics: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each set and number of images whose scores are not finite."""
    concerned: dict[tuple[str, int], list[Score]] = {}
    for side in ("in", "out"):
        for score in scores:
            if count := metrics.get(metric_name(f"n_not_finite_{side}", score, scores[0]), 0):
                concerned.setdefault((side, count), []).append(score)
    return [
        f"{count} of {metrics[f'n_{side}']} images of {metrics[f'{side}_dataset']} have a score{_named(some, scores)} "
        f"that is not finite (the flow overflows on them); they count as the most outlying."
        for (side, count), some in concerned.items()
    ]


def _below_chance(scores: Sequence[Score], metrics: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each explanation of an AUROC below one half."""
    concerned: dict[str, list[Score]] = {}
    for score in scores:
        if metrics[metric_name("auroc", score, scores[0])] < 0.5:
            concerned.setdefault(score.below_chance, []).append(score)
    return [f"An AUROC below 0.5{_named(some, scores)} {meaning}." for meaning, some in concerned.items()]


def _no_better_than_control(scores: Sequence[Score], metrics: Mapping[str, Any]) -> list[str]:
    """Return a sentence where the main score is not better than the control that needs no model."""
    difference = metrics.get(f"auroc_minus_{CONTROL}")
    if difference is None or metrics.get(f"auroc_minus_{CONTROL}_low", difference) > 0:
        return []
    control = metrics[metric_name("auroc", SCORES[CONTROL], scores[0])]
    limits = _limits(f"auroc_minus_{CONTROL}", metrics)
    return [
        f"On this pair the model adds nothing over a file size, as far as these images show: {CONTROL} alone has AUROC "
        f"{control:.4f}, {scores[0].name} minus {CONTROL} is {difference:+.4f}"
        f"{f' ({limits})' if limits else ''}."
    ]


def _limits(key: str, metrics: Mapping[str, Any]) -> str:
    """Return the limits of a metric's interval in words, empty where there is none."""
    name, dot, score = key.partition(".")
    low, high = (metrics.get(f"{name}{limit}{dot}{score}") for limit in LIMITS)
    return "" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def _named(some: Sequence[Score], scores: Sequence[Score]) -> str:
    """Return names of scores in brackets where there are several scores."""
    return f" ({', '.join(score.name for score in some)})" if len(scores) > 1 else ""

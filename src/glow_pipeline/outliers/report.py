"""The lines on metrics that a person reads at the end of a command."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from glow_pipeline.outliers.bootstrap import COVERAGE
from glow_pipeline.outliers.histogram_metrics import ERROR
from glow_pipeline.outliers.metric_names import CONTROL, LIMITS, metric_name, scores_in
from glow_pipeline.outliers.score_metrics import HISTOGRAM
from glow_pipeline.outliers.scores.registry import SCORES
from glow_pipeline.outliers.scores.score import Score

MOST_PRINTED = 6  # scores beside the main one among the last lines of a command


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

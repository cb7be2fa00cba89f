"""Names and values of the metrics of several scores, and the lines that a person reads.

The metrics of the main score have plain names (`auroc`), those of another one are followed by its name
(`auroc.complexity`). So a run with several scores stays comparable with a run of the main score alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.outliers.metrics import detection_metrics, finite_mean
from glow_pipeline.outliers.scores.registry import SCORES
from glow_pipeline.outliers.scores.score import Score

MAIN = "main_score"  # key of the main score's name among the metrics


def score_metrics(
    scores: Sequence[Score], values: Mapping[str, NDArray[np.floating]], is_out: NDArray[np.bool_]
) -> dict[str, object]:
    """Return the metrics of each score.

    Args:
        scores: the requested ones, the main one first.
        values: column -> (n,).
        is_out: (n,), true for the outliers.

    Returns:
        For each score auroc, aupr_out, aupr_in, fpr_at_95_tpr (`detection_metrics`), the two means of its finite
        values (in_bits_per_dim, out_bits_per_dim), and how many values are not finite (n_not_finite_in and _out).
    """
    metrics: dict[str, object] = {MAIN: scores[0].name}
    for score in scores:
        value = values[score.column]
        (in_mean, in_not_finite), (out_mean, out_not_finite) = map(finite_mean, (value[~is_out], value[is_out]))
        own = {
            **detection_metrics(is_out, value),
            f"in_{score.mean_name}": in_mean,
            f"out_{score.mean_name}": out_mean,
            "n_not_finite_in": in_not_finite,
            "n_not_finite_out": out_not_finite,
        }
        metrics |= {metric_name(key, score, scores[0]): number for key, number in own.items()}
    return metrics


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


def lines_of_scores(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return metric -> meaning, in the order to print: all of the main score, then the AUROC of each other one."""
    scores = scores_in(metrics)
    if not scores:
        return {}
    aurocs = {
        metric_name("auroc", score, scores[0]): f"AUROC of the {score.summary}, outliers positive" for score in scores
    }
    lines = {
        "auroc": aurocs["auroc"],
        "aupr_out": "AUPR, outliers positive",
        "aupr_in": "AUPR, in-distribution positive",
        "fpr_at_95_tpr": "false positives at 95% true positives",
    }
    return lines | aurocs


def warnings_of_scores(metrics: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each set with values that are not finite, and for each score worse than chance."""
    scores = scores_in(metrics)
    return [line for score in scores for line in _not_finite(score, scores, metrics)] + [
        f"An AUROC below 0.5{_named(score, scores)} {score.below_chance}."
        for score in scores
        if metrics[metric_name("auroc", score, scores[0])] < 0.5
    ]


def _not_finite(score: Score, scores: Sequence[Score], metrics: Mapping[str, Any]) -> list[str]:
    return [
        f"{count} of {metrics[f'n_{side}']} images of {metrics[f'{side}_dataset']} have a score{_named(score, scores)} "
        f"that is not finite (the flow overflows on them); they count as the most outlying."
        for side in ("in", "out")
        if (count := metrics.get(metric_name(f"n_not_finite_{side}", score, scores[0]), 0))
    ]


def _named(score: Score, scores: Sequence[Score]) -> str:
    """Return the score's name in brackets where there are several."""
    return f" ({score.name})" if len(scores) > 1 else ""

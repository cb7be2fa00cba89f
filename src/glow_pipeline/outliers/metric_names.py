"""Names of the metrics of several scores.

The metrics of the main score have plain names (`auroc`), those of another one are followed by its name
(`auroc.complexity`). So a run with several scores stays comparable with a run of the main score alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from glow_pipeline.outliers.scores.registry import SCORES
from glow_pipeline.outliers.scores.score import Score

MAIN = "main_score"  # key of the main score's name among the metrics
CONTROL = "complexity"  # needs no model: where it is as good, the model adds nothing
REFERENCES = ("nll", CONTROL)  # each other score's AUROC is compared with theirs
LIMITS = ("_low", "_high")


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

"""Figures of scores, and the table for a person to read."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Dequantization
from glow_pipeline.images.format import size_and_bits_of
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.metrics import roc_points
from glow_pipeline.outliers.ranks import images_to_show, most_outlying, ranks
from glow_pipeline.outliers.report import MAIN, REFERENCES, compared_with, metric_name, scores_in
from glow_pipeline.outliers.scores import Score
from glow_pipeline.parameters import OodParameters
from glow_pipeline.pipelines.ood.stored_scores import check_columns, readable_rows, requested_scores
from glow_pipeline.plots.curves import roc_figure
from glow_pipeline.plots.histograms import Joint, score_histograms
from glow_pipeline.plots.ranked_images import RankedRow, ranked_images

IMAGES_A_ROW = 8
LISTED_OF_EACH_SET = 1000


def plot_detection(ood_scores: pd.DataFrame, ood_metrics: dict[str, Any]) -> tuple[Figure, Figure]:
    """Draw histograms of all scores, with NLL against compressed bits where both are there, and the ROC curves."""
    scored, scores = readable_rows(ood_scores), _measured(ood_scores, ood_metrics)
    is_out = scored["is_out"].to_numpy(dtype=bool)
    title = f"{_title(scored)} ({size_and_bits_of(str(ood_metrics['images']))})"
    histograms = {score.label: _by_set(scored, score) for score in scores}
    by_name = {score.name: score for score in scores}
    joint = None
    if all(name in by_name for name in REFERENCES):
        x, y = (by_name[name] for name in REFERENCES)
        joint = Joint(x.label, _by_set(scored, x), y.label, _by_set(scored, y))
    curves = {}
    for score in sorted(scores, key=lambda score: -_auroc(score, ood_metrics)):
        auroc = f"AUROC {_auroc(score, ood_metrics):.4f}"
        name = auroc if len(scores) == 1 else f"{score.name}, {auroc}"
        curves[name] = roc_points(is_out, scored[score.column].to_numpy())
    return score_histograms(histograms, title, joint), roc_figure(curves, title)


def plot_ranked_images(
    ood_scores: pd.DataFrame, in_images: ImageTable, unseen_out_images: ImageTable, ood: OodParameters
) -> Figure:
    """Draw the images that the main score gets wrong, and those on which it and a second score disagree most."""
    scored, scores = readable_rows(ood_scores), requested_scores(ood)
    check_columns(scored, scores)
    is_out = scored["is_out"].to_numpy(dtype=bool)
    shown = [scores[0], *compared_with(scores)[:1]]
    rank = {score.name: ranks(scored[score.column].to_numpy()) for score in shown}
    # In the order of `gather_scores`.
    places = [*_places(scored[~is_out], in_images), *_places(scored[is_out], unseen_out_images)]
    names = scored["file"].where(scored["file"].notna(), scored["source"] + " " + scored["index"].astype(str))
    rows = [
        RankedRow(
            heading,
            [_eight_bits(*places[i]) for i in chosen],
            [[str(names.iloc[i]), *(f"{name} {place[i]:,}" for name, place in rank.items())] for i in chosen],
        )
        for heading, chosen in images_to_show(rank, is_out, IMAGES_A_ROW).items()
    ]
    title = f"{_title(scored)} ({in_images.record.image_format.size_and_bits})"
    return ranked_images(rows, f"{title}: ranks among {len(scored):,} images, 1 is the most outlying")


def list_most_outlying(ood_scores: pd.DataFrame, ood: OodParameters) -> pd.DataFrame:
    """Return the images of each set that the main score calls the most outlying, for a person to read.

    All images of a large set would be hundreds of megabytes of CSV, which no browser shows; `ood_scores` has them.
    """
    scored, scores = readable_rows(ood_scores), requested_scores(ood)
    check_columns(scored, scores)
    return most_outlying(scored, scores[0].column, LISTED_OF_EACH_SET)


def _places(scored: pd.DataFrame, table: ImageTable) -> list[tuple[ImageTable, int]]:
    """Return the table and the position in it of each row's image.

    Raises:
        GlowPipelineError: the rows are of other images than the table.
    """
    if not np.array_equal(scored["index"].to_numpy(dtype=np.int64), table.rows):
        raise GlowPipelineError(
            f"the stored ood_scores are not of the images of {table.record.name}; let score_in_images, "
            f"score_out_images and gather_scores run too"
        )
    return [(table, position) for position in range(len(table))]


def _eight_bits(table: ImageTable, position: int) -> Tensor:
    """Return an image of a table with 8 bits, uint8 (C, H, W)."""
    images, _ = table[np.array([position])]
    return Dequantization(table.record.image_format.n_bits).expand(images)[0]


def _measured(ood_scores: pd.DataFrame, ood_metrics: dict[str, Any]) -> list[Score]:
    """Return the scores that these metrics are of, the main one first; their columns are in the table."""
    scores = scores_in(ood_metrics)
    if not scores:
        raise GlowPipelineError(
            f"ood_metrics: its score {ood_metrics.get(MAIN)} is not registered; import its file in settings.py again, "
            f"or let all nodes of ood run"
        )
    check_columns(ood_scores, scores)
    return scores


def _auroc(score: Score, ood_metrics: dict[str, Any]) -> float:
    return float(ood_metrics[metric_name("auroc", score, scores_in(ood_metrics)[0])])


def _by_set(scored: pd.DataFrame, score: Score) -> dict[str, NDArray[np.float64]]:
    """Return a score's values on each set by its name, the in-distribution images first."""
    names = _names_of_sets(scored)
    return {name: scored.loc[scored["is_out"] == out, score.column].to_numpy() for out, name in names.items()}


def _title(scored: pd.DataFrame) -> str:
    return " vs ".join(_names_of_sets(scored).values())


def _names_of_sets(scored: pd.DataFrame) -> dict[bool, str]:
    """Return the names of both sets, by whether they are the outliers; they differ also where the images are equal."""
    inside, outside = (str(scored.loc[scored["is_out"] == out, "source"].iloc[0]) for out in (False, True))
    return {False: inside, True: outside if outside != inside else f"{outside} (as outliers)"}

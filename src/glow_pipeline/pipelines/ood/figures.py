"""Figures of scores, and the table for a person to read."""

from collections.abc import Iterator, Sequence
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
from glow_pipeline.outliers.metric_names import MAIN, REFERENCES, compared_with, metric_name, scores_in
from glow_pipeline.outliers.ranks import RankedPiece, exact_ranks, images_to_show, most_outlying, rank_function
from glow_pipeline.outliers.score_table import IS_OUT, ScoreTable
from glow_pipeline.outliers.scores import Score
from glow_pipeline.parameters import OodParameters
from glow_pipeline.pipelines.ood.drawn_scores import drawn_score, some_dots
from glow_pipeline.pipelines.ood.stored_scores import check_columns, requested_scores, sets_of
from glow_pipeline.plots.curves import roc_figure
from glow_pipeline.plots.histograms import Joint, score_histograms
from glow_pipeline.plots.ranked_images import RankedRow, ranked_images

IMAGES_A_ROW = 8
LISTED_OF_EACH_SET = 1000


def plot_detection(ood_scores: pd.DataFrame | ScoreTable, ood_metrics: dict[str, Any]) -> tuple[Figure, Figure]:
    """Draw histograms of all scores, with NLL against compressed bits where both are there, and the ROC curves."""
    scored = ScoreTable.of(ood_scores)
    scores = _measured(scored, ood_metrics)
    sets = sets_of(scored)
    title = f"{sets.title} ({size_and_bits_of(str(ood_metrics['images']))})"
    drawn = {score.name: drawn_score(scored, score.column, sets) for score in scores}
    histograms = {score.label: drawn[score.name].by_set for score in scores}
    by_name = {score.name: score for score in scores}
    joint = None
    if all(name in by_name for name in REFERENCES):
        x, y = (by_name[name] for name in REFERENCES)
        dots = some_dots(scored, x.column, y.column, sets)
        joint = Joint(x.label, drawn[x.name].by_set, y.label, drawn[y.name].by_set, dots)
    curves = {}
    for score in sorted(scores, key=lambda score: -_auroc(score, ood_metrics)):
        auroc = f"AUROC {_auroc(score, ood_metrics):.4f}"
        name = auroc if len(scores) == 1 else f"{score.name}, {auroc}"
        curves[name] = drawn[score.name].roc
    return score_histograms(histograms, title, joint), roc_figure(curves, title)


def plot_ranked_images(
    ood_scores: pd.DataFrame | ScoreTable, in_images: ImageTable, unseen_out_images: ImageTable, ood: OodParameters
) -> Figure:
    """Draw the images that the main score gets wrong, and those on which it and a second score disagree most."""
    scored, scores = ScoreTable.of(ood_scores), requested_scores(ood)
    check_columns(scored, scores)
    sets, shown = sets_of(scored), [scores[0], *compared_with(scores)[:1]]
    chosen = images_to_show(ranked_pieces(scored, shown), IMAGES_A_ROW)
    positions = np.unique(np.concatenate([*chosen.values(), np.empty(0, dtype=np.int64)]))
    places = _places(scored, positions, in_images, unseen_out_images)
    rows = scored.take(positions, ["file", "source", "index", *(score.column for score in shown)])
    rank = {score.name: exact_ranks(scored, score.column, rows[score.column].to_numpy()) for score in shown}
    names = rows["file"].where(rows["file"].notna(), rows["source"] + " " + rows["index"].astype(str))
    captions = {
        position: [str(names.iloc[i]), *(f"{name} {own[i]:,}" for name, own in rank.items())]
        for i, position in enumerate(positions)
    }
    title = f"{sets.title} ({in_images.record.image_format.size_and_bits})"
    return ranked_images(
        [
            RankedRow(heading, [_eight_bits(*places[i]) for i in some], [captions[i] for i in some])
            for heading, some in chosen.items()
        ],
        f"{title}: ranks among {len(sets):,} images, 1 is the most outlying",
    )


def list_most_outlying(ood_scores: pd.DataFrame | ScoreTable, ood: OodParameters) -> pd.DataFrame:
    """Return the images of each set that the main score calls the most outlying, for a person to read.

    All images of a large set would be hundreds of megabytes of CSV, which no browser shows; `ood_scores` has them.
    """
    scored, scores = ScoreTable.of(ood_scores), requested_scores(ood)
    check_columns(scored, scores)
    return most_outlying(scored, scores[0].column, LISTED_OF_EACH_SET)


def ranked_pieces(scored: ScoreTable, scores: Sequence[Score]) -> Iterator[RankedPiece]:
    """Yield all readable images with their ranks by these scores."""
    ranks = {score.name: rank_function(scored, score.column) for score in scores}
    for frame in scored.readable([IS_OUT, *(score.column for score in scores)]):
        own = {score.name: ranks[score.name](frame[score.column].to_numpy()) for score in scores}
        yield RankedPiece(frame.index.to_numpy(), frame[IS_OUT].to_numpy(dtype=bool), own)


def _places(
    scored: ScoreTable, positions: NDArray[np.int64], in_images: ImageTable, out_images: ImageTable
) -> dict[int, tuple[ImageTable, int]]:
    """Return the table and the position in it of the images of some rows.

    Raises:
        GlowPipelineError: the rows are of other images than the tables.
    """
    found: dict[int, tuple[ImageTable, int]] = {}
    tables, before = (in_images, out_images), [0, 0]
    for frame in scored.readable(["index", IS_OUT]):
        is_out = frame[IS_OUT].to_numpy(dtype=bool)
        for out, table in enumerate(tables):
            own, start = frame[is_out == out], before[out]
            before[out] += len(own)
            rows = table.rows_at(range(start, min(before[out], len(table))))
            if not np.array_equal(own["index"].to_numpy(dtype=np.int64), np.asarray(rows)):
                raise _of_other_images(table)
            for i in np.flatnonzero(own.index.isin(positions)):
                found[int(own.index[i])] = table, start + int(i)
    for table, number in zip(tables, before, strict=True):
        if number < len(table):
            raise _of_other_images(table)
    return found


def _of_other_images(table: ImageTable) -> GlowPipelineError:
    return GlowPipelineError(
        f"the stored ood_scores are not of the images of {table.record.name}; let score_images and "
        f"gather_scores run too"
    )


def _eight_bits(table: ImageTable, position: int) -> Tensor:
    """Return an image of a table with 8 bits, uint8 (C, H, W)."""
    images, _ = table[np.array([position])]
    return Dequantization(table.record.image_format.n_bits).expand(images)[0]


def _measured(scored: ScoreTable, ood_metrics: dict[str, Any]) -> list[Score]:
    """Return the scores that these metrics are of, the main one first; their columns are in the table."""
    scores = scores_in(ood_metrics)
    if not scores:
        raise GlowPipelineError(
            f"ood_metrics: its score {ood_metrics.get(MAIN)} is not registered; import its file in settings.py again, "
            f"or let all nodes of ood run"
        )
    check_columns(scored, scores)
    return scores


def _auroc(score: Score, ood_metrics: dict[str, Any]) -> float:
    return float(ood_metrics[metric_name("auroc", score, scores_in(ood_metrics)[0])])

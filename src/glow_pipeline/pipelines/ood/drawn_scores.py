"""Scores in the form in which figures draw them, of any number of images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.outliers.metrics import roc_points
from glow_pipeline.outliers.score_histogram import pieces_of, score_histogram
from glow_pipeline.outliers.score_table import IS_OUT, MOST_IN_MEMORY, ScoreTable
from glow_pipeline.pipelines.ood.stored_scores import Sets
from glow_pipeline.plots.histograms import DOTS, Counted, Dots, Scores


@dataclass(frozen=True)
class DrawnScore:
    """One score of both sets.

    Attributes:
        by_set: name of a set -> its values, the in-distribution images first.
        roc: false and true positive rates.
    """

    by_set: Scores
    roc: tuple[NDArray[np.floating], NDArray[np.floating]]


def drawn_score(scored: ScoreTable, column: str, sets: Sets, most_exact: int = MOST_IN_MEMORY) -> DrawnScore:
    """Return a score to draw; of more than `most_exact` images its histogram, whose bins no eye can see."""
    pieces = pieces_of(scored, column)
    if len(sets) > most_exact:
        made = score_histogram(pieces, sets.n_in, sets.n_out)
        by_set = {sets.inside: Counted(made.lower, made.n_in), sets.outside: Counted(made.lower, made.n_out)}
        return DrawnScore(by_set, made.roc_points())
    is_out, score = (np.concatenate(part) for part in zip(*pieces(), strict=True))
    return DrawnScore({sets.inside: score[~is_out], sets.outside: score[is_out]}, roc_points(is_out, score))


def some_dots(scored: ScoreTable, x: str, y: str, sets: Sets) -> Mapping[str, Dots]:
    """Return two scores of evenly spaced images of each set, at most `DOTS` a set."""
    names, steps = (sets.inside, sets.outside), [-(-n // DOTS) for n in (sets.n_in, sets.n_out)]
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    before = [0, 0]
    for frame in scored.readable([IS_OUT, x, y]):
        is_out, values = frame[IS_OUT].to_numpy(dtype=bool), frame[[x, y]].to_numpy(dtype=np.float64)
        for out, (name, step) in enumerate(zip(names, steps, strict=True)):
            own = values[is_out == out]
            found[name].append(own[-before[out] % step :: step])
            before[out] += len(own)
    return {name: tuple(np.concatenate(parts).T) for name, parts in found.items()}

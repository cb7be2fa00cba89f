"""The table of scores as it is stored: which of its rows and columns may be used."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.metrics import check_numbers
from glow_pipeline.outliers.score_table import IS_OUT, ScoreTable
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.parameters import OodParameters


def requested_scores(ood: OodParameters) -> list[Score]:
    """Return the scores to compute, the main one first."""
    return [SCORES[name] for name in ood.score_names]


def check_columns(scored: ScoreTable, scores: Sequence[Score]) -> None:
    """Check that a table, which may be of an earlier command, has these scores.

    Raises:
        GlowPipelineError: it does not; the line names the nodes that have to run.
    """
    for score in scores:
        if score.column not in scored.columns:
            raise GlowPipelineError(
                f"ood.scores={score.name}: the stored ood_scores have no {score.column}; "
                f"let score_images and gather_scores run too"
            )


@dataclass(frozen=True)
class Sets:
    """Both sets of a table of scores.

    Attributes:
        inside, outside: their names, which differ also where the images are equal.
        n_in, n_out: their images that could be read.
    """

    inside: str
    outside: str
    n_in: int
    n_out: int

    def __len__(self) -> int:
        return self.n_in + self.n_out

    @property
    def title(self) -> str:
        return f"{self.inside} vs {self.outside}"


def sets_of(scored: ScoreTable) -> Sets:
    """Return the names and numbers of both sets, in one pass over a table.

    Raises:
        GlowPipelineError: one has no image that could be read.
    """
    names, numbers = ["", ""], [0, 0]
    for frame in scored.readable(["source", IS_OUT]):
        is_out = frame[IS_OUT].to_numpy(dtype=bool)
        for out in (0, 1):
            own = np.flatnonzero(is_out == out)
            if len(own):
                names[out] = str(frame["source"].iloc[own[0]])
                numbers[out] += len(own)
    check_numbers(*numbers)
    inside, outside = names
    return Sets(inside, outside if outside != inside else f"{outside} (as outliers)", *numbers)

"""The table of scores as it is stored: which of its rows and columns may be used."""

from collections.abc import Sequence

import pandas as pd

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scores.registry import UNREADABLE
from glow_pipeline.parameters import OodParameters


def requested_scores(ood: OodParameters) -> list[Score]:
    """Return the scores to compute, the main one first."""
    return [SCORES[name] for name in ood.score_names]


def check_columns(scored: pd.DataFrame, scores: Sequence[Score]) -> None:
    """Check that a table, which may be of an earlier command, has these scores.

    Raises:
        GlowPipelineError: it does not; the line names the nodes that have to run.
    """
    for score in scores:
        if score.column not in scored:
            raise GlowPipelineError(
                f"ood.scores={score.name}: the stored ood_scores have no {score.column}; "
                f"let score_in_images, score_out_images and gather_scores run too"
            )


def readable_rows(ood_scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of images that could be read."""
    return ood_scores[ood_scores[UNREADABLE].isna()]

"""Scoring of a table: one pass of the model over the images for all requested scores."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.density import ModelledBatch, modelled_batches
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.outliers.scores.score import Score


def score_table(model: Glow, batches: Batches, scores: Sequence[Score], seed: int) -> dict[str, NDArray[np.float64]]:
    """Return each score of each image, by column: float64 (n,), in the table's order.

    NaN becomes infinity: the flow overflows on such an image, which therefore is the most outlying.

    Args:
        model: the flow.
        batches: batches of the table, in its order.
        scores: those to compute, fitted where they have to be (`fit_scores`).
        seed: seed of the dequantization noise.

    Raises:
        GlowPipelineError: a score returned something other than a number for each image.
    """
    columns: dict[str, list[torch.Tensor]] = {score.column: [] for score in scores}
    with torch.no_grad():
        for batch in modelled_batches(model, batches, seed, f"score {batches.table.record.name}"):
            for score in scores:
                columns[score.column].append(_values(score, batch))
    return {name: _infinite_for_nan(parts) for name, parts in columns.items()}


def fit_scores(model: Glow, fit_images: Batches | None, scores: Sequence[Score], seed: int) -> list[Score]:
    """Return the scores, those that are fitted on images fitted on these.

    Args:
        model: the flow.
        fit_images: images that the model was not trained on; None if there are none.
        scores: the requested ones.
        seed: seed of the dequantization noise.

    Raises:
        GlowPipelineError: a score has to be fitted, and there is nothing to fit it on.
    """
    return [score if score.fitted_on == "nothing" else _fitted(score, model, fit_images, seed) for score in scores]


def _fitted(score: Score, model: Glow, fit_images: Batches | None, seed: int) -> Score:
    if fit_images is None:
        raise GlowPipelineError(
            f"ood.scores={score.name}: has to be fitted on images that the model was not trained on, and this command "
            f"has none; leave it out"
        )
    with torch.no_grad():
        return score.fit(modelled_batches(model, fit_images, seed, f"fit {score.name}"))


def _values(score: Score, batch: ModelledBatch) -> torch.Tensor:
    """Return the scores of a batch, float64 (B,) on the CPU, without the graph of a score that differentiates."""
    values, n = score.score(batch), len(batch.images)
    if not isinstance(values, torch.Tensor) or values.shape != (n,) or values.is_complex():
        found = f"{values.dtype} {tuple(values.shape)}" if isinstance(values, torch.Tensor) else type(values).__name__
        raise GlowPipelineError(
            f"ood.scores={score.name}: {type(score).__name__}.score returned {found} for {n} images; it should return "
            f"a tensor of {n} real numbers"
        )
    return values.detach().cpu().double()


def _infinite_for_nan(parts: list[torch.Tensor]) -> NDArray[np.float64]:
    infinity = torch.inf
    values: NDArray[np.float64] = torch.cat(parts).nan_to_num(nan=infinity, posinf=infinity, neginf=-infinity).numpy()
    return values

"""Scoring of a table: one pass of the model over the images for all requested scores."""

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.density import ModelledBatch, exact, modelled_batches
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import float32_convolutions
from glow_pipeline.images.batches import Batch, Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.transfer import HostCopy, arrived
from glow_pipeline.outliers.scores.score import FittedScore, Numbers, Score
from glow_pipeline.outliers.statistics.codecs import host_copy
from glow_pipeline.randomness import key

logger = logging.getLogger(__name__)

FEW_FITTED = 20  # densities of fewer images hardly tell images apart; below 4 they tell none apart
MOST_FITTED = 10_000  # more images would take time and memory, and change no fit noticeably


def score_table(
    model: Glow, batches: Batches, scores: Sequence[Score], seed: int, draws: int = 1
) -> dict[str, NDArray[np.float64]]:
    """Return each score of each image, by column: float64 (n,), in the table's order.

    A score that is not finite becomes infinity: a flow overflows on such an image, which therefore is the most
    outlying, also if it is the background of `likelihood_ratio`. Memory holds one number an image and score, and the
    pixels of one batch.

    Args:
        model: the flow.
        batches: batches of the table, in its order.
        scores: those to compute, fitted where they have to be (`fit_scores`).
        seed: seed of the dequantization noise.
        draws: draws of the noise over which the numbers that describe an image are averaged.

    Raises:
        GlowPipelineError: a score returned something other than numbers for each image.
    """
    columns: dict[str, list[Numbers]] = {score.column: [] for score in scores}
    for scored in scored_batches(model, batches, scores, seed, draws, f"score {batches.table.record.name}"):
        for name, values in scored.items():
            columns[name].append(values)
    return {name: np.concatenate([np.empty(0), *parts]) for name, parts in columns.items()}


def scored_batches(
    model: Glow, batches: Batches, scores: Sequence[Score], seed: int, draws: int, description: str | None
) -> Generator[dict[str, Numbers]]:
    """Yield for each batch the scores of its images, float64 (B,) by the score's column, as `score_table` has them.

    Raises:
        GlowPipelineError: a score returned something other than numbers for each image.
    """
    for described in described_batches(model, batches, scores, seed, draws, description):
        yield {score.column: scores_of(score, described[score.name]) for score in scores}


def scores_of(score: Score, described: Numbers) -> Numbers:
    """Return a score of images (n,) by the numbers (n, d) that describe them; infinity where one is not finite.

    Raises:
        GlowPipelineError: the score returned something other than a number for each image.
    """
    values = _checked(score, score.score(described), len(described))
    # A density limits numbers that are not finite, and would hide that the flow overflows on the image.
    return np.where(np.isfinite(described).all(axis=1), values, np.inf)


class Describer(Protocol):
    """Something that describes the images of a batch by numbers: a score, or `Reasons`."""

    @property
    def name(self) -> str: ...
    @property
    def traces(self) -> bool: ...
    @property
    def compresses(self) -> bool: ...
    def describe(self, batch: ModelledBatch) -> Tensor: ...


def fit_scores(model: Glow, val_images: Batches, scores: Sequence[Score], seed: int, draws: int = 1) -> list[Score]:
    """Fit those of the scores that learn from validation images, and return all of them.

    A score that cannot be fitted is left out with a warning: the others, and the model, are useful without it.

    Args:
        model: the flow.
        val_images: images that the model was not trained on; of more than 10,000 the seed draws so many.
        scores: the requested ones.
        seed: seed of the dequantization noise and of the fits.
        draws: as `score_table` takes it.
    """
    to_fit = [score for score in scores if isinstance(score, FittedScore)]
    if not to_fit:
        return list(scores)
    chosen = Batches(_at_most(val_images.table, MOST_FITTED, seed), val_images.batch_size, val_images.device)
    if len(chosen.table) < FEW_FITTED:
        logger.warning(
            "Outlier scores are fitted on %d validation images: those that are densities (density_sum, ...) hardly "
            "tell images apart below %d, and not at all below 4; give more, by ingest.val_percentage or calibrate.path",
            *(len(chosen.table), FEW_FITTED),
        )
    parts: dict[str, list[Numbers]] = {score.name: [] for score in to_fit}
    for described in described_batches(model, chosen, to_fit, seed, draws, f"fit on {chosen.table.record.name}"):
        for name, numbers in described.items():
            parts[name].append(numbers)
    fitted = (_fitted(score, parts[score.name], seed) if isinstance(score, FittedScore) else score for score in scores)
    return [score for score in fitted if score is not None]


def _fitted(score: FittedScore, described: list[Numbers], seed: int) -> FittedScore | None:
    """Return the score fitted to these numbers; None if it cannot be."""
    try:
        return score.fit(_finite(score, np.concatenate(described)), seed)
    except GlowPipelineError as error:
        logger.warning("%s", error)
        return None


def _at_most(table: ImageTable, most: int, seed: int) -> ImageTable:
    """Return the table, or of a larger one `most` images that the seed draws, in the table's order."""
    if len(table) <= most:
        return table
    random = np.random.default_rng(key(seed, "fit scores") % 2**64)
    return table.subset(np.sort(random.choice(len(table), most, replace=False)))


def described_batches(
    model: Glow, batches: Iterable[Batch], scores: Sequence[Describer], seed: int, draws: int, description: str | None
) -> Iterator[Mapping[str, Numbers]]:
    """Yield for each batch the numbers by which each score describes its images, (B, d) by the score's name.

    A GPU computes the next batch while the host has these.
    """
    for copies in arrived(_described_on_device(model, batches, scores, seed, draws, description)):
        yield {score.name: copy.numpy() / draws for score, copy in zip(scores, copies, strict=True)}


def _described_on_device(
    model: Glow, batches: Iterable[Batch], scores: Sequence[Describer], seed: int, draws: int, description: str | None
) -> Iterator[HostCopy]:
    """Yield for each batch the sums of each score's numbers over the draws of the noise."""
    traces, compress = (any(getattr(score, needs) for score in scores) for needs in ("traces", "compresses"))
    with torch.no_grad():
        batches_of_draws = modelled_batches(model, batches, seed, description, draws=draws, traces=traces)
        for first in batches_of_draws:
            # In this order, so that a GPU computes the pass while the host compresses the images.
            if compress:
                first.once_for_images(host_copy)
            if traces:
                _ = first.levels
            total = [_described(score, first) for score in scores]
            for batch in islice(batches_of_draws, draws - 1):
                total = [one + _described(score, batch) for one, score in zip(total, scores, strict=True)]
            yield HostCopy(*total)


def _described(score: Describer, batch: ModelledBatch) -> Tensor:
    """Return the numbers of a batch, float64 (B, d) on the device, without the graph of a score that differentiates."""
    with float32_convolutions():  # for the gradients that a score may compute, too
        found, n = score.describe(batch), len(batch.images)
    if not isinstance(found, torch.Tensor) or found.ndim not in (1, 2) or len(found) != n or found.is_complex():
        what = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, torch.Tensor) else type(found).__name__
        raise GlowPipelineError(
            f"ood.scores={score.name}: {type(score).__name__}.describe returned {what} for {n} images; it should "
            f"return a tensor of real numbers with {n} rows"
        )
    return exact(found.detach()).view(n, -1)


def _checked(score: Score, values: NDArray[np.floating], n: int) -> Numbers:
    """Return the scores of a batch, float64 (B,), with infinity for what is not finite."""
    if not isinstance(values, np.ndarray) or values.shape != (n,) or np.iscomplexobj(values):
        what = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise GlowPipelineError(
            f"ood.scores={score.name}: {type(score).__name__}.score returned {what} for {n} images; it should return "
            f"an array of {n} real numbers"
        )
    return np.nan_to_num(values.astype(np.float64), nan=np.inf, posinf=np.inf, neginf=np.inf)


def _finite(score: Score, described: Numbers) -> Numbers:
    finite = described[np.isfinite(described).all(axis=1)]
    if not len(finite):
        raise GlowPipelineError(
            f"ood.scores={score.name}: the flow overflows on all {len(described)} validation images, so that it cannot "
            f"be fitted and is left out"
        )
    return finite

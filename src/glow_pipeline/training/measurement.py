"""Measurement of a model on its test images: one pass, of which small statistics remain."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.density import modelled_batches
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.rows import Rows
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.transfer import HostCopy
from glow_pipeline.outliers.statistics.latents import precise
from glow_pipeline.training.latent_histograms import LatentCounter, LatentHistogram

EXTREMES = 8  # images at each end


@dataclass(frozen=True)
class LevelBits:
    """Mean bits per dimension of the image that one level contributes.

    Attributes:
        shape: (C, H, W) of its latent.
        latent: of its latent under its prior.
        determinant: of the log-determinant of its steps; negative where these contract the images.
    """

    shape: tuple[int, int, int]
    latent: float
    determinant: float


@dataclass(frozen=True)
class BitsByLevel:
    """The parts that the mean bits per dimension are the sum of.

    Attributes:
        grey_levels: bits of a grey level, from the dequantization: `n_bits`.
        levels: finest first.
        n: number of images with finite bits, over which the means are.
        n_not_finite: number of images that are left out.
    """

    grey_levels: float
    levels: Sequence[LevelBits]
    n: int
    n_not_finite: int

    @property
    def total(self) -> float:
        """Return the bits per dimension."""
        return self.grey_levels + math.fsum(level.latent + level.determinant for level in self.levels)


@dataclass(frozen=True)
class ExtremeImages:
    """The images at one end of the likelihood.

    Attributes:
        rows: their rows of the table in its folder (n,), the most extreme first.
        bits_per_dim: of each, float64 (n,); NaN or infinite where the flow overflowed.
    """

    rows: Rows
    bits_per_dim: NDArray[np.float64]


@dataclass(frozen=True)
class Measurement:
    """What one pass over a table says of a model.

    Attributes:
        bits_per_dim: mean over the images, as `mean_bits_per_dim` returns it.
        bits_per_dim_given_class: the same, given the labels; None: the model has no classes.
        by_level: the parts of `bits_per_dim`.
        most_likely, least_likely: up to EXTREMES images each.
        latents: of each level, finest first.
    """

    bits_per_dim: float
    bits_per_dim_given_class: float | None
    by_level: BitsByLevel
    most_likely: ExtremeImages
    least_likely: ExtremeImages
    latents: Sequence[LatentHistogram]


@torch.no_grad()
def measure_images(model: Glow, batches: Batches, seed: int) -> Measurement:
    """Measure a model on a table, in one pass. The table has at least one image.

    Args:
        model, batches, seed: as `modelled_batches` takes them.
    """
    log_probs, given_class = [], []
    counters = [LatentCounter(batches.device) for _ in model.latent_shapes]
    sums = precise(torch.zeros(2, len(model.latent_shapes), device=batches.device))
    for batch in modelled_batches(model, batches, seed, "evaluate", traces=True):
        log_probs.append(batch.log_prob)
        if model.y_condition:
            given_class.append(batch.log_prob_given_class)
        for counter, level in zip(counters, batch.levels, strict=True):
            counter.add(level.eps)
        finite = batch.log_prob.isfinite()
        parts = torch.stack([torch.stack([level.log_prob, level.logdet]) for level in batch.levels], dim=1)
        sums += precise(torch.where(finite, parts, 0.0)).sum(dim=2)
    copies = HostCopy(torch.cat(log_probs), *([torch.cat(given_class)] if given_class else []), sums)
    log_prob, *labelled, level_sums = copies.get()
    bits = model.bits_per_dim(log_prob.double())
    return Measurement(
        bits.mean().item(),
        model.bits_per_dim(labelled[0].double()).mean().item() if labelled else None,
        _by_level(model, level_sums.double(), log_prob),
        *_extremes(bits.numpy(), batches.table),
        [counter.histogram() for counter in counters],
    )


def _by_level(model: Glow, sums: Tensor, log_prob: Tensor) -> BitsByLevel:
    """Return the parts, from the sums over images of each level's (log_prob, logdet), (2, L) in nats."""
    n = int(log_prob.isfinite().sum())
    latent, determinant = (model.bits_per_dim(sums) / n).tolist() if n else [[math.nan] * sums.shape[1]] * 2
    levels = [LevelBits(*level) for level in zip(model.latent_shapes, latent, determinant, strict=True)]
    return BitsByLevel(float(model.dequantization.n_bits), levels, n, len(log_prob) - n)


def _extremes(bits: NDArray[np.float64], table: ImageTable) -> tuple[ExtremeImages, ExtremeImages]:
    """Return the most and the least likely images; NaN counts as infinite, and equal ones are in the table's order."""
    worth = np.where(np.isnan(bits), np.inf, bits)
    n = min(EXTREMES, len(bits))
    chosen = np.argsort(worth, kind="stable")[:n], np.argsort(-worth, kind="stable")[:n]
    lowest, highest = (ExtremeImages(table.rows_at(places), bits[places]) for places in chosen)
    return lowest, highest

"""The negative log-likelihood of an image by position, level by level."""

import math

import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.flow.glow import LevelTrace
from glow_pipeline.outliers.statistics.latents import precise


def position_nll(batch: ModelledBatch) -> Tensor:
    """Spread each image's -log p(x) over its pixels: the sum of `level_maps`, and dequantization.

    Args:
        batch: a traced batch.

    Returns:
        float64 (B, H, W), in nats; the sum of an image's pixels is its -log p(x).
    """
    by_dequantization = batch.images.shape[1] * math.log(batch.model.dequantization.n_levels)
    return level_maps(batch).sum(dim=1) + by_dequantization


def level_maps(batch: ModelledBatch) -> Tensor:
    """Spread each level's part of -log p(x) over the pixels of the image.

    A pixel has its share of the position that it is in: half the squared latent minus the log-scales of the couplings
    and of the split there. The terms without a place (Gaussian constants, actnorms, 1x1 convolutions, the prior of the
    top, and couplings computed by plain layers) are spread evenly.

    The map is Glow's change of variables (Kingma and Dhariwal 2018), term by term; no paper that we know has it.
    Cost: none beside the traced pass.

    Args:
        batch: a traced batch.

    Returns:
        float64 (B, L, H, W), in nats, finest level first. NaN or infinite where an image overflows.
    """
    height = batch.images.shape[2]
    maps = [_to_pixels(_of_level(level), height // level.eps.shape[2]) for level in batch.levels]
    return torch.stack(maps, dim=1)


def _of_level(level: LevelTrace) -> Tensor:
    """Spread a level's part of -log p(x) over its positions, float64 (B, h, w), in nats."""
    placed = 0.5 * precise(level.eps).square().sum(dim=1) - precise(level.log_scale)
    without_place = -precise(level.log_prob) - precise(level.logdet) - placed.sum(dim=(1, 2))
    return exact(placed + without_place[:, None, None] / placed[0].numel())


def _to_pixels(values: Tensor, side: int) -> Tensor:
    """Divide each position's value among its side x side pixels: (B, h, w) -> (B, side h, side w)."""
    return values.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2) / side**2

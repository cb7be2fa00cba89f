"""Log-scale maps of all levels on a coarse grid: how much the couplings scale each part of the image."""

import torch
from torch import Tensor
from torch.nn import functional as F

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.outliers.statistics.latents import precise

CELLS = 4


def log_scale_grid(batch: ModelledBatch) -> Tensor:
    """Average each level's log-scale map over the cells of a grid of 4x4.

    A map of fewer than 4x4 positions repeats them, so that each level has 16 numbers.

    Returns:
        float64 (B, 16 L), in nats, levels from fine to coarse, each row by row.
    """
    maps = [F.adaptive_avg_pool2d(precise(level.log_scale)[:, None], CELLS).flatten(1) for level in batch.levels]
    return exact(torch.cat(maps, dim=1))

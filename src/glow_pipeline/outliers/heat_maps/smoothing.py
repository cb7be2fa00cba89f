"""Gaussian smoothing of maps, of any size and without dark edges."""

from functools import cache

import torch
from torch import Tensor

from glow_pipeline.images.transfer import to_device


def smoothed(maps: Tensor, sigma: float) -> Tensor:
    """Smooth maps (B, H, W) by a Gaussian of `sigma` pixels; 0 leaves them as they are. A map's sum does not change."""
    if sigma == 0:
        return maps
    height, width = maps.shape[1:]
    return _on_device(height, sigma, maps.device) @ maps @ _on_device(width, sigma, maps.device)


@cache  # of a few sizes: it takes many small operations
def _on_device(length: int, sigma: float, device: torch.device) -> Tensor:
    return to_device(smoothing_matrix(length, sigma), device)


def smoothing_matrix(length: int, sigma: float) -> Tensor:
    """Return the matrix (length, length) that smooths a line of pixels, float64, symmetric; each row sums to 1.

    The line is mirrored at its ends as often as the kernel, which ends at 4 sigma, is longer than the line.
    """
    reach = int(4 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma).square())
    sources = (torch.arange(length)[:, None] + offsets) % (2 * length)
    sources = torch.where(sources < length, sources, 2 * length - 1 - sources)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, sources, (weights / weights.sum()).expand(length, -1))

"""Statistics of an image's pixels that a person sees: no flow is involved.

Each function takes a batch and returns float64, as `density.exact` has it. They are of the image as it is displayed,
expanded to 8 bits, and do not depend on the dequantization noise.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.outliers.statistics.latents import precise

SMALLEST_SD = 1e-9


def brightness(batch: ModelledBatch) -> Tensor:
    """Return the mean of each image's pixels in grey levels, 0 to 255: (B,)."""
    return exact(_displayed(batch).mean(dim=(1, 2, 3)))


def contrast(batch: ModelledBatch) -> Tensor:
    """Return the standard deviation of each image's pixels in grey levels: (B,)."""
    return exact(_displayed(batch).std(dim=(1, 2, 3), correction=0))


def colourfulness(batch: ModelledBatch) -> Tensor:
    """Return the colourfulness M of each image in grey levels, 0 of a grey one: (B,).

    Hasler and Suesstrunk 2003, Measuring colourfulness in natural images (doi:10.1117/12.477378), equation 8.
    """
    displayed = _displayed(batch)
    if displayed.shape[1] != 3:
        return exact(displayed.new_zeros(len(displayed)))
    red, green, blue = displayed.flatten(2).unbind(dim=1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue])  # (2, B, H W)
    spread = opponents.std(dim=2, correction=0).norm(dim=0)
    return exact(spread + 0.3 * opponents.mean(dim=2).norm(dim=0))


def smoothness(batch: ModelledBatch) -> Tensor:
    """Return the correlation of neighbouring pixels at as many scales as the flow has levels: (B, L).

    Scale l averages blocks of 2**(l - 1) pixels a side first. The correlation is that with the neighbours to the right
    and below, over all channels, around the image's mean. It does not depend on the contrast; an image that is constant
    at a scale has 1.
    """
    displayed = _displayed(batch)
    scales = [_neighbours_correlation(F.avg_pool2d(displayed, 2**i)) for i in range(len(batch.levels))]
    return exact(torch.stack(scales, dim=1))


def _displayed(batch: ModelledBatch) -> Tensor:
    return batch.once_for_images(_expanded)


def _expanded(batch: ModelledBatch) -> Tensor:
    return precise(batch.model.dequantization.expand(batch.images).float())


def _neighbours_correlation(values: Tensor) -> Tensor:
    centred = values - values.mean(dim=(1, 2, 3), keepdim=True)
    variance = centred.square().mean(dim=(1, 2, 3))
    products = [centred[..., 1:] * centred[..., :-1], centred[..., 1:, :] * centred[..., :-1, :]]
    n = sum(product[0].numel() for product in products)
    total = torch.stack([product.sum(dim=(1, 2, 3)) for product in products]).sum(dim=0)
    constant = variance.sqrt() < SMALLEST_SD
    return torch.where(constant, torch.ones_like(variance), total / max(n, 1) / variance.clamp_min(SMALLEST_SD**2))

"""Random changes of training images."""

import torch
from torch import Tensor

ALL = slice(None)


def mirror_half(images: Tensor, generator: torch.Generator, batch_size: int | None = None, rows: slice = ALL) -> Tensor:
    """Mirror each image left to right with probability one half, as Glow's authors do on CIFAR-10.

    Args:
        images: (B, C, H, W), on the generator's device.
        generator: draws for each image of the batch.
        batch_size: number of images of the complete batch; None: `images` is complete.
        rows: the rows of the batch that `images` are.
    """
    chosen = torch.rand(batch_size or len(images), generator=generator, device=images.device)[rows] < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def mutate(
    images: Tensor,
    share: float,
    n_levels: int,
    generator: torch.Generator,
    batch_size: int | None = None,
    rows: slice = ALL,
) -> Tensor:
    """Replace each value with probability `share` by a level drawn uniformly, as Ren et al. 2019 do (arXiv:1906.02845).

    What a flow learns of such images is their background, and less of what is drawn on it.

    Args:
        images: uint8 (B, C, H, W) below `n_levels`, on the generator's device.
        share: from 0 to 1. One in `n_levels` of the drawn levels is the value that was there.
        n_levels: number of levels.
        generator: draws for each value of the batch.
        batch_size: number of images of the complete batch; None: `images` is complete.
        rows: the rows of the batch that `images` are.
    """
    shape = (batch_size or len(images), *images.shape[1:])
    chosen = torch.rand(shape, generator=generator, device=images.device)[rows] < share
    levels = torch.randint(n_levels, shape, generator=generator, device=images.device, dtype=images.dtype)[rows]
    return torch.where(chosen, levels, images)

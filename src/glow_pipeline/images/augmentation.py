"""Augmentation, of training images only."""

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

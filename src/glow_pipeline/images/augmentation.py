"""What is done to training images, and to no others."""

import torch
from torch import Tensor

ALL = slice(None)


def mirror_half(images: Tensor, generator: torch.Generator, batch_size: int | None = None, rows: slice = ALL) -> Tensor:
    """Mirror each image left to right with probability one half, as Glow's authors do on CIFAR-10.

    Args:
        images: (B, C, H, W), on the generator's device.
        generator: draws for each image of the batch.
        batch_size: images of the batch, if these are not all.
        rows: which of its rows these are.
    """
    chosen = torch.rand(batch_size or len(images), generator=generator, device=images.device)[rows] < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)

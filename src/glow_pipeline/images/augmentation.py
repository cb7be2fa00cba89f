"""What is done to training images, and to no others."""

import torch
from torch import Tensor


def mirror_half(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability one half, as Glow's authors do on CIFAR-10.

    Args:
        images: (B, C, H, W), on the generator's device.
    """
    chosen = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)

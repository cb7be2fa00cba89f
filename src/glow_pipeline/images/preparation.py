"""The one path by which images of any source come to a given size, colour and number of grey levels.

In-distribution and out-of-distribution images go through the same lines: a difference between two
paths would by itself tell the sets apart.
"""

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from glow_pipeline.flow.dequantization import Dequantization
from glow_pipeline.images.spec import ImageSpec


def prepare(images: Tensor, spec: ImageSpec) -> Tensor:
    """8-bit images of one size -> images as `spec` says.

    Colour first (grey to RGB by repetition, RGB to grey by ITU-R 601 luma), then size, then grey levels.

    Args:
        images: uint8 (N, 1 or 3, h, w).

    Returns:
        uint8 (N, C, H, W) with values below 2**n_bits.
    """
    if spec.channels == 3:
        images = transforms.grayscale_to_rgb(images)
    elif images.shape[1] == 3:
        images = transforms.rgb_to_grayscale(images, num_output_channels=1)
    size = (spec.height, spec.width)
    if images.shape[2:] != size:
        images = _pad(images, *size) if spec.fit == "pad" else _resize(images, *size)
    return Dequantization(spec.n_bits).reduce(images)


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    """Bilinear with antialiasing, to exactly this size."""
    return transforms.resize(images, [height, width], interpolation=InterpolationMode.BILINEAR, antialias=True)


def _pad(images: Tensor, height: int, width: int) -> Tensor:
    """Black around the centred image; one that is too large is first shrunk, keeping its shape, until it fits."""
    h, w = images.shape[2:]
    shrink = min(1.0, height / h, width / w)
    if shrink < 1:
        h, w = max(1, round(h * shrink)), max(1, round(w * shrink))
        images = _resize(images, h, w)
    padded = torch.zeros(*images.shape[:2], height, width, dtype=images.dtype)
    top, left = (height - h) // 2, (width - w) // 2
    padded[:, :, top : top + h, left : left + w] = images
    return padded

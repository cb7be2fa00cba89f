"""Preparation of images of any source: size, colour and number of grey levels.

In-distribution and out-of-distribution images take the same path: a difference between two paths would by itself
distinguish the sets.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from glow_pipeline.flow.dequantization import Dequantization
from glow_pipeline.images.format import ImageFormat

# torchvision has the same operations, but importing it costs every command two seconds.


def prepare(images: Tensor, image_format: ImageFormat) -> Tensor:
    """Bring 8-bit images of one size to a format.

    Colour first (grey to RGB by repetition, RGB to grey by luma), then size, then grey levels.

    Args:
        images: uint8 (N, 1 or 3, h, w).
        image_format: format of the result.

    Returns:
        uint8 (N, C, H, W) with values below 2**n_bits.
    """
    if image_format.channels > images.shape[1]:
        images = images.expand(-1, image_format.channels, -1, -1)
    elif image_format.channels < images.shape[1]:
        images = _luma(images)
    size = (image_format.height, image_format.width)
    if images.shape[2:] != size:
        images = _pad(images, *size) if image_format.fit == "pad" else _resize(images, *size)
    return Dequantization(image_format.n_bits).reduce(images)


def _luma(images: Tensor) -> Tensor:
    """Weigh the colours (N, 3, h, w) by ITU-R BT.601 to (N, 1, h, w)."""
    red, green, blue = images.float().unbind(dim=1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).round().to(torch.uint8)[:, None]


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    """Resize to exactly this size, bilinear with antialiasing."""
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)


def _pad(images: Tensor, height: int, width: int) -> Tensor:
    """Centre the image on black; shrink one that is too large first, with its aspect ratio, until it fits."""
    h, w = images.shape[2:]
    shrink = min(1.0, height / h, width / w)
    if shrink < 1:
        h, w = max(1, round(h * shrink)), max(1, round(w * shrink))
        images = _resize(images, h, w)
    padded = torch.zeros(*images.shape[:2], height, width, dtype=images.dtype)
    top, left = (height - h) // 2, (width - w) // 2
    padded[:, :, top : top + h, left : left + w] = images
    return padded

"""Hashes of images' pixels, to find equal images, and noise that depends on the pixels alone.

Two images of one shape are equal when all their pixels are. A hash of 64 bits represents the pixels: it is computed
on the device that holds the images, and takes eight bytes an image.
"""

import logging
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio
# Values hashed at once; each takes eight bytes, several times over. On a CPU they fit into its cache.
CHUNK_VALUES = {"cpu": 2**17, "cuda": 2**24}


def content_hash(images: Tensor) -> Tensor:
    """Hash the pixels of each image: equal for equal images, on any device and in any batch.

    A multilinear hash with fixed coefficients (Thorup 2015, arXiv:1504.06804), finalised by `mix`. Two different
    images that were not made to collide have equal hashes with a probability of about 2**-56.

    Args:
        images: uint8 (B, C, H, W).

    Returns:
        int64 (B,).
    """
    values = images.flatten(1)
    coefficients = mix(torch.arange(1, values.shape[1] + 1, device=images.device)) | 1
    rows = _rows_at_once(values)
    sums = [((chunk.long() + 1) * coefficients).sum(dim=1) for chunk in values.split(rows)]
    return mix(torch.cat(sums)) if sums else values.new_empty(0, dtype=torch.int64)


def content_noise(images: Tensor, key: int) -> Tensor:
    """Draw uniform noise that depends on an image's pixels and the key alone.

    Equal on any device, in any batch and any order: a counter-based generator (Salmon et al. 2011,
    doi:10.1145/2063384.2063405) with one stream an image, SplitMix64 seeded by the image's hash.

    Args:
        images: uint8 (B, C, H, W).
        key: of 64 bits; another key gives other noise.

    Returns:
        float32 of the same shape, multiples of 2**-24 in [0, 1).
    """
    kernel = kernel_on(images.device) if images.device.type == "cuda" else None
    return noise_by_operations(images, key) if kernel is None else kernel(images, key)


@cache
def kernel_on(device: torch.device) -> Callable[[Tensor, int], Tensor] | None:
    """Return the kernel that computes `noise_by_operations`, if this GPU runs it and gets the same bits."""
    try:
        from glow_pipeline.flow.fast.kernel_failures import FAILURES  # needs Triton
        from glow_pipeline.images.noise_kernel import kernel_noise
    except ImportError as error:
        logger.debug("No kernel for the noise: %s", error)
        return None
    example = torch.arange(48, dtype=torch.uint8, device=device).view(2, 3, 2, 4)
    try:
        same = torch.equal(kernel_noise(example, GOLDEN >> 1), noise_by_operations(example, GOLDEN >> 1))
    except FAILURES as error:
        logger.debug("No kernel for the noise: %s", error)
        return None
    return kernel_noise if same else None


def noise_by_operations(images: Tensor, key: int) -> Tensor:
    """Compute `content_noise` by torch's operations, on any device."""
    values = images.flatten(1)
    starts = mix(content_hash(images) ^ key)[:, None]
    counter = torch.arange(values.shape[1], device=images.device)
    noise = torch.empty(values.shape, device=images.device)
    rows = _rows_at_once(values)
    for part, start in zip(noise.split(rows), starts.split(rows), strict=True):
        torch.mul(_shifted(mix(start + counter), 40), 2.0**-24, out=part)
    return noise.view(images.shape)


def mix(numbers: Tensor) -> Tensor:
    """Scatter int64 numbers over all 64 bits: each number n becomes the n-th output of SplitMix64 with seed 0.

    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators" (doi:10.1145/2660193.2660195).
    """
    z = numbers * _signed(GOLDEN)
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _rows_at_once(values: Tensor) -> int:
    return max(1, CHUNK_VALUES.get(values.device.type, 2**22) // max(1, values.shape[1]))


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Shift right without the sign."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number

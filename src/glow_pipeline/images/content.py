"""Which images are the same, whatever their files are called.

Two images of one shape are the same when all their pixels are. A hash of 64 bits stands for the pixels: it is computed
on the device that holds the images, and takes eight bytes an image to keep.
"""

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio
CHUNK_VALUES = 2**19  # hashed at once; each takes eight bytes


def content_hash(images: Tensor) -> Tensor:
    """Hash the pixels of each image: equal for equal images, on any device and in any batch.

    A multilinear hash with fixed coefficients (Thorup 2015, arXiv:1504.06804), finalised by `mix`. Images
    that were not made to collide have equal hashes with a probability of about 2**-56 a pair.

    Args:
        images: uint8 (B, C, H, W).

    Returns:
        int64 (B,).
    """
    values = images.flatten(1)
    coefficients = mix(torch.arange(1, values.shape[1] + 1, device=images.device)) | 1
    rows = max(1, CHUNK_VALUES // max(1, values.shape[1]))
    sums = [((chunk.long() + 1) * coefficients).sum(dim=1) for chunk in values.split(rows)]
    return mix(torch.cat(sums)) if sums else values.new_empty(0, dtype=torch.int64)


def mix(numbers: Tensor) -> Tensor:
    """Scatter int64 numbers over all 64 bits, each on its own: n becomes the n-th output of SplitMix64 from seed 0.

    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators" (doi:10.1145/2660193.2660195).
    """
    z = numbers * _signed(GOLDEN)
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Shift right as if the numbers had no sign."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number

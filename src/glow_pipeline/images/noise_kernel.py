"""The noise of `content.content_noise` in one kernel, with the same bits.

By torch's operations a GPU takes about 60 kernels, of which 20 read or write eight bytes for each value of a batch.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

VALUES_AT_ONCE = 1024


def kernel_noise(images: Tensor, key: int) -> Tensor:
    """Draw the noise of images, uint8 (B, C, H, W) on a GPU: float32 of the same shape."""
    images = images.contiguous()
    noise = torch.empty(images.shape, device=images.device)
    if len(images):
        _noise[(len(images),)](images, noise, key, images[0].numel(), BLOCK=VALUES_AT_ONCE)
    return noise


@triton.jit
def _mix(numbers):
    """Scatter uint64 numbers over all 64 bits, as `content.mix`."""
    z = numbers * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit(do_not_specialize=["key"])
def _noise(images, noise, key, n_values, BLOCK: tl.constexpr):
    """Hash one image, and write the stream of numbers that the hash and the key begin."""
    first = tl.program_id(0).to(tl.int64) * n_values
    sums = tl.zeros((BLOCK,), tl.int64)  # as unsigned, but Triton adds those up in fewer versions
    for start in range(0, n_values, BLOCK):
        places = start + tl.arange(0, BLOCK)
        values = tl.load(images + first + places, mask=places < n_values, other=0).to(tl.int64) + 1
        coefficients = _mix((places + 1).to(tl.uint64)) | 1
        sums += tl.where(places < n_values, values * coefficients.to(tl.int64), 0)
    content = _mix(tl.sum(sums, axis=0).to(tl.uint64))
    stream = _mix(content ^ key.to(tl.int64).to(tl.uint64))
    for start in range(0, n_values, BLOCK):
        places = start + tl.arange(0, BLOCK)
        numbers = _mix(stream + places.to(tl.uint64)) >> 40
        tl.store(noise + first + places, numbers.to(tl.int32).to(tl.float32) * (2.0**-24), mask=places < n_values)

"""The nearest of many images, by Euclidean distance between their grey levels."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from glow_pipeline.flow.float64 import float64_device

COMPARED_VALUES = 2**21  # grey levels of the images that are compared at once, as float64
COLUMN_BITS = 16  # of a column beside a squared distance, to which 47 are left: those of images of up to 2**31 values


class Neighbours(NamedTuple):
    """The k nearest images of each of n images, the nearest first."""

    images: Tensor  # uint8 (n, k, C, H, W), on the CPU
    distances: Tensor  # float64 (n, k), root of the mean square over pixels and channels, in grey levels
    n_others: int  # images among which they were found


def nearest_images(images: Tensor, others: Iterable[Tensor], k: int, device: torch.device) -> Neighbours:
    """Find the k nearest among a stream of other images; there are fewer where the stream has fewer.

    Squared distances are integers, which float64 holds exactly, so that the result is that of any order of summation.
    Of equally near images the first in the stream comes first. Memory does not grow with the stream.

    Args:
        images: uint8 (n, C, H, W).
        others: yields uint8 (some, C, H, W).
        k: images to find, at least 1.
        device: where distances are computed; the CPU in place of a device without float64.
    """
    device = float64_device(device)
    n, shape = len(images), images.shape[1:]
    dimensions = images[0].numel()
    at_once = max(1, min(COMPARED_VALUES // dimensions, 2**COLUMN_BITS - k))
    values = images.to(device).flatten(1).double()
    squares = values.square().sum(dim=1, keepdim=True)
    nearest = torch.empty(n, 0, *shape, dtype=torch.uint8, device=device)
    squares_found = torch.empty(n, 0, dtype=torch.int64, device=device)  # squared distances of `nearest`
    n_others = 0
    for chunk in others:
        for part in chunk.split(at_once) if len(chunk) else ():
            block = part.to(device)
            found = block.flatten(1).double()
            squared = squares + found.square().sum(dim=1) - 2 * values @ found.T
            both = torch.cat([squares_found, squared.long()], dim=1)
            columns = torch.arange(both.shape[1], device=device)  # of equal distances the first column is the smallest
            keys, _ = (both << COLUMN_BITS | columns).topk(min(k, both.shape[1]), largest=False, sorted=True)
            kept = squares_found.shape[1]
            squares_found, chosen = keys >> COLUMN_BITS, keys & (2**COLUMN_BITS - 1)
            is_new = (chosen >= kept).view(n, -1, 1, 1, 1)
            if kept:
                before = nearest[torch.arange(n, device=device)[:, None], chosen.clamp(max=kept - 1)]
                nearest = torch.where(is_new, block[(chosen - kept).clamp(min=0)], before)
            else:
                nearest = block[chosen]
            n_others += len(block)
    distances = (squares_found.double() / dimensions).sqrt()
    return Neighbours(nearest.cpu(), distances.cpu(), n_others)

"""Drawing of images by their content, independently of their names and of other images."""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.images.content import mix
from glow_pipeline.images.rows import CHUNK


def draw_by_content(hashes: NDArray[np.int64], percentage: float, seed: int, purpose: str) -> NDArray[np.bool_]:
    """Draw about a percentage of images, each by its content, the seed and the purpose alone.

    Equal images are drawn together. If none is drawn, the image with the smallest value is; if all are, the one with
    the largest value is not. So both parts have images unless all images are equal.

    Args:
        hashes: hash of each image's content, uniform over all 64 bits (N,).

    Returns:
        Whether each is drawn (N,).
    """
    key = int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:8], "little", signed=True)

    def values() -> Iterator[tuple[slice, NDArray[np.uint64]]]:
        for start in range(0, len(hashes), CHUNK):
            chunk = np.array(hashes[start : start + CHUNK])
            yield slice(start, start + CHUNK), mix(torch.from_numpy(chunk) ^ key).numpy().view(np.uint64)

    drawn = np.empty(len(hashes), dtype=np.bool_)
    for place, chunk in values():
        drawn[place] = chunk.astype(np.float64) < percentage / 100 * 2.0**64
    if not drawn.any():
        least = min((chunk.min() for _, chunk in values()), default=0)
        for place, chunk in values():
            drawn[place] = chunk == least
    if drawn.all():
        largest = max((chunk.max() for _, chunk in values()), default=0)
        for place, chunk in values():
            drawn[place] = chunk != largest
    return drawn

"""Drawing of images by their content, independently of their names and of other images."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.images.content import mix


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
    values = mix(torch.from_numpy(np.array(hashes)) ^ key).numpy().view(np.uint64)
    drawn = values.astype(np.float64) < percentage / 100 * 2.0**64
    if not drawn.any():
        drawn = values == values.min(initial=np.iinfo(np.uint64).max)
    if drawn.all():
        drawn = values != values.max(initial=0)
    return drawn

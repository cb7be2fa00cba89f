"""Drawing of images by their content, independently of their names and of other images."""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.images.content import mix
from glow_pipeline.images.content_sets import Sliceable, pieces


def draw_by_content(hashes: Sliceable, percentage: float, seed: int, purpose: str) -> NDArray[np.bool_]:
    """Draw about a percentage of images, each by its content, the seed and the purpose alone.

    Equal images are drawn together. If none is drawn, the image with the smallest value is; if all are, the one with
    the largest value is not. So both parts have images unless all images are equal.

    Args:
        hashes: hash of each image's content, uniform over all 64 bits (N,).

    Returns:
        Whether each is drawn (N,).
    """
    key = int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:8], "little", signed=True)

    def values() -> Iterator[NDArray[np.uint64]]:
        for piece in pieces(hashes):
            yield mix(torch.from_numpy(np.array(piece)) ^ key).numpy().view(np.uint64)

    def where(is_drawn: Callable[[NDArray[np.uint64]], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        return np.concatenate([np.empty(0, dtype=np.bool_), *map(is_drawn, values())])

    drawn = where(lambda some: some.astype(np.float64) < percentage / 100 * 2.0**64)
    if not drawn.any():
        least = min((some.min() for some in values()), default=0)
        drawn = where(lambda some: some == least)
    if drawn.all():
        largest = max((some.max() for some in values()), default=0)
        drawn = where(lambda some: some != largest)
    return drawn

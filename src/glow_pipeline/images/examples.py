"""Examples of images: the first of each class of a table, or some drawn at random from a source."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.images.content import content_hash
from glow_pipeline.images.rows import as_array
from glow_pipeline.images.split_images import SplitImages


def first_of_each_class(labels: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return up to n rows by class: the first image of each of the first n classes, then the second of each, ...

    Args:
        labels: (N,), of all images.
        n: at least 1.
    """
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    # How many images of its class come before each one.
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(starts, counts)
    chosen = np.lexsort((labels, place))[:n]
    return chosen[np.lexsort((place[chosen], labels[chosen]))]


def draw_examples(
    images: SplitImages,
    n: int,
    generator: torch.Generator,
    *,
    seen: NDArray[np.int64] | None = None,
    num_classes: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw some images at random, without writing a table.

    Args:
        n: images; there are fewer where the split has fewer.
        seen: content hashes of images that are left out.
        num_classes: leave out images of classes from this number on.

    Returns:
        Images uint8 (n, C, H, W) below 2**n_bits and labels int64 (n,), in the order in which they were drawn.
    """
    rows = as_array(images.rows)
    if num_classes is not None:
        rows = rows[images.labels[rows] < num_classes]
    order = rows[torch.randperm(len(rows), generator=generator).numpy()]
    drawn = torch.empty(0, *images.origin.image_format.shape, dtype=torch.uint8)
    labels = torch.empty(0, dtype=torch.int64)
    for start in range(0, len(order), n):
        block = order[start : start + n]
        prepared = {
            int(row): image
            for chunk in images.prepared(np.sort(block))
            for row, image in zip(chunk.rows, chunk.images, strict=True)
        }
        readable = [row for row in block.tolist() if row in prepared]
        if not readable:
            continue
        candidates = torch.stack([prepared[row] for row in readable])
        unseen = np.full(len(readable), True) if seen is None else ~np.isin(content_hash(candidates).numpy(), seen)
        drawn = torch.cat([drawn, candidates[unseen]])[:n]
        labels = torch.cat([labels, torch.from_numpy(images.labels[np.array(readable)[unseen]])])[:n]
        if len(drawn) == n:
            break
    return drawn, labels

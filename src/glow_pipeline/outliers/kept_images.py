"""Calibration images that a detector keeps, to be shown beside images that it judges."""

import logging

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.images.table import ImageTable
from glow_pipeline.randomness import key

MOST_BYTES = 2**25  # of a detector's pixels

Images = NDArray[np.uint8]

logger = logging.getLogger(__name__)


def keep_images(table: ImageTable, n: int, seed: int) -> Images:
    """Return n different images of a table, or all if it has fewer, uint8 (n, C, H, W) below 2**n_bits.

    They are evenly spaced in the table's order, so that each class of a folder is among them; the seed draws the first.
    Of large images there are fewer, which is logged: together they have 32 MiB at most.
    """
    shape = table.record.image_format.shape
    _, first = np.unique(table.content_hashes, return_index=True)
    wanted = min(n, len(first))
    kept = min(wanted, MOST_BYTES // int(np.prod(shape)))
    if kept < wanted:
        logger.info("calibrate.kept_images=%d: the detector keeps %d, of 32 MiB together", n, kept)
    if kept == 0:
        return np.empty((0, *shape), dtype=np.uint8)
    start = np.random.default_rng(key(seed, "kept images") % 2**64).random()
    rows = np.sort(first)[((np.arange(kept) + start) * len(first) / kept).astype(np.int64)]
    images: Images = table[rows][0].numpy()
    return images


def nearest(kept: Images, image: Images, n: int) -> Images:
    """Return the n of the kept images that are nearest to an image (C, H, W), the nearest first: (n, C, H, W).

    By the mean squared difference of their pixels. Statistics of the pixels or of the model find images of an equal
    texture instead, which look less alike.
    """
    distances = [np.square(other.astype(np.int32) - image).mean() for other in kept]
    return kept[np.argsort(distances, kind="stable")[:n]]

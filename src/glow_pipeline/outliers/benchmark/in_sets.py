"""The in-distribution side of a benchmark: the images that are scored, and those that are changed into outliers."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import ImageTable
from glow_pipeline.randomness import generator


class InSets(NamedTuple):
    """In-distribution test images.

    No changed image is compared with its own original: the test images are halved by seed, and changed images of the
    second half are compared with images of the first alone.

    Attributes:
        scored: images that are compared with other sets.
        in_first_half: bool (len(scored),), those that changed images are compared with.
        originals: images of the second half, to be changed.
    """

    scored: ImageTable
    in_first_half: NDArray[np.bool_]
    originals: ImageTable


def in_sets(images: ImageTable, n_images: int | None, seed: int) -> InSets:
    """Halve the test images by seed.

    Args:
        images: the test images.
        n_images: number of images of each set at most; None: all.
        seed: the run's seed.

    Raises:
        GlowPipelineError: there are not two images.
    """
    if len(images) < 2:
        raise GlowPipelineError(f"{images.record.name}: {len(images)} test image; a benchmark needs two at least")
    order = torch.randperm(len(images), generator=generator(seed, "benchmark")).numpy()
    n_first = (len(images) + 1) // 2
    chosen = np.sort(order[:n_images])
    return InSets(
        images.subset(chosen),
        np.isin(chosen, order[:n_first]),
        images.subset(np.sort(order[n_first:][:n_images])),
    )


def draw(images: ImageTable, n_images: int | None, seed: int) -> ImageTable:
    """Return at most so many images, drawn by seed, in the table's order; all for None."""
    if n_images is None or n_images >= len(images):
        return images
    order = torch.randperm(len(images), generator=generator(seed, "benchmark")).numpy()
    return images.subset(np.sort(order[:n_images]))

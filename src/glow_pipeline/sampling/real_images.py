"""The real images that a sampling mode starts from or compares with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm


class LabelledImages(NamedTuple):
    """Images and their classes."""

    images: Tensor  # uint8 (n, C, H, W) below 2**n_bits
    labels: Tensor  # int64 (n,)


@dataclass(frozen=True)
class TrainingImages:
    """The images that a model was trained on, read when they are iterated over.

    Attributes:
        labels: classes of all images of their split (N,), known before an image is read; the model was not trained on
            a few of them.
        read: reads the images at some places of `labels`, in order, a chunk at a time, without those that the model was
            not trained on.
    """

    labels: NDArray[np.int64]
    read: Callable[[NDArray[np.int64]], Iterator[LabelledImages]]

    def batches(self, size: int, description: str, places: NDArray[np.int64] | None = None) -> Iterator[LabelledImages]:
        """Read images in batches, in the order of their source, under a progress bar.

        Args:
            size: most images of a batch.
            description: beside the bar.
            places: in `labels`, rising; None: all.
        """
        places = np.arange(len(self.labels)) if places is None else places
        with tqdm(total=len(places), desc=description, unit="img", delay=2, leave=False) as bar:
            for chunk in self.read(places):
                if not len(chunk.images):
                    continue
                for images, labels in zip(chunk.images.split(size), chunk.labels.split(size), strict=True):
                    yield LabelledImages(images, labels)
                    bar.update(len(images))


@dataclass(frozen=True)
class RealImages:
    """The real images that a mode asks for.

    Attributes:
        test: test images that the model was not trained on, in a random order; none if the mode uses none.
        training: None if the mode uses none.
    """

    test: LabelledImages
    training: TrainingImages | None = None

    @classmethod
    def none(cls, shape: tuple[int, int, int]) -> Self:
        """Return no images of this shape."""
        return cls(LabelledImages(torch.empty(0, *shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)))

"""The interface of a sampling mode."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import torch
from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.plots.movie import Movie


class Endpoints(NamedTuple):
    """Real images at both ends of paths, and their labels."""

    start: Tensor  # uint8 (n, C, H, W) below 2**n_bits
    end: Tensor
    y_start: Tensor  # int64 (n,)
    y_end: Tensor

    @classmethod
    def pairs(cls, images: Tensor, labels: Tensor) -> Self:
        """Return the first half of the images as starts and the second half as ends; an odd last one is left out."""
        n = len(images) // 2
        return cls(images[:n], images[n : 2 * n], labels[:n], labels[n : 2 * n])

    @classmethod
    def none(cls, shape: tuple[int, int, int]) -> Self:
        """Return no pairs of images of this shape."""
        return cls.pairs(torch.empty(0, *shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))


@dataclass(frozen=True)
class SampleRequest:
    """A model, and the parameters of the picture to draw from it.

    Attributes:
        flow: the model, on its device.
        dataset: name of the images that it was trained on.
        class_names: names of their classes, by number; may be shorter than the flow's number of classes.
        n: images at once.
        temperature: factor on the latents.
        y: number of the class to draw; None: each, or the flow has no classes.
        frames: steps from one end of a movement to the other.
        seed: seed of every random draw.
        endpoints: test images that the model was not trained on; none for a mode that does not need them.
    """

    flow: Glow
    dataset: str
    class_names: Sequence[str]
    n: int
    temperature: float
    y: int | None
    frames: int
    seed: int
    endpoints: Endpoints

    @property
    def device(self) -> torch.device:
        """Return the device of the flow."""
        return next(self.flow.parameters()).device


class SamplingMode(ABC):
    """A way to draw images from a model and to show them.

    Attributes:
        name: as it is typed (`sample.mode=normal`) and as its files are called (`samples_normal.png`).
        summary: the picture in a few words.
        needs_endpoints: whether it starts from test images, which then are read.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    needs_endpoints: ClassVar[bool] = False

    @abstractmethod
    def draw(self, request: SampleRequest) -> Figure | Movie:
        """Draw the images and return their picture: a grid, rows, or a movie with a still picture."""

    def pictures(self, request: SampleRequest) -> int:
        """Return about how many times `n` images are drawn, by which the time is estimated."""
        return request.frames

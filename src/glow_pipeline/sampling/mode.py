"""The interface of a sampling mode."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure

from glow_pipeline.flow import Glow
from glow_pipeline.images.titles import class_title
from glow_pipeline.plots.movie import Movie
from glow_pipeline.sampling.latent_path import LatentPath
from glow_pipeline.sampling.real_images import RealImages


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
        real: the real images that the mode asks for.
        path: form of a path between two latents.
        attribute: numbers of the classes of the images with the attribute; None: each class is one.
    """

    flow: Glow
    dataset: str
    class_names: Sequence[str]
    n: int
    temperature: float
    y: int | None
    frames: int
    seed: int
    real: RealImages
    path: LatentPath = "linear"
    attribute: tuple[int, ...] | None = None

    def class_label(self, k: int) -> str:
        """Return what a class is called in a picture: `class 3`, `cats`; empty for -1, no known class."""
        return class_title(k, self.class_names) if k >= 0 else ""

    @property
    def device(self) -> torch.device:
        """Return the device of the flow."""
        return next(self.flow.parameters()).device


class SamplingMode(ABC):
    """A way to draw images from a model and to show them.

    Attributes:
        name: as it is typed (`sample.mode=normal`) and as its files are called (`samples_normal.png`).
        summary: the picture in a few words.
        least_test_images: how many test images it needs at least; 0: it uses none, and none is read.
        uses_training_images: whether it reads the images that the model was trained on.
        uses_attribute: whether it tells images apart by their classes, `sample.attribute`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    least_test_images: ClassVar[int] = 0
    uses_training_images: ClassVar[bool] = False
    uses_attribute: ClassVar[bool] = False

    @abstractmethod
    def draw(self, request: SampleRequest) -> Figure | Movie:
        """Draw the images and return their picture: a grid, rows, or a movie with a still picture."""

    def n_test_images(self, n: int) -> int:
        """Return how many test images it starts from where there are so many; n is `sample.n`."""
        return max(n, self.least_test_images) if self.least_test_images else 0

    def pictures(self, request: SampleRequest) -> int:
        """Return about how many times `n` images are drawn, by which the time is estimated."""
        return request.frames

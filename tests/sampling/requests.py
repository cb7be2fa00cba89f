"""Requests for sampling modes, with random real images, and what their figures show."""

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.sampling import MODES, LabelledImages, RealImages, SampleRequest, TrainingImages
from tests.conftest import random_images


def levels_of(n: int, seed: int, size: tuple[int, int] = (8, 8)) -> Tensor:
    """Return random images of 4 bits."""
    return random_images(n, size=size, seed=seed) >> 4


def training_images(images: Tensor, labels: Tensor, chunk: int = 7) -> TrainingImages:
    """Return images in memory as those that a model was trained on."""

    def read(places: NDArray[np.int64]) -> Iterator[LabelledImages]:
        for part in torch.from_numpy(places).split(chunk):
            yield LabelledImages(images[part], labels[part])

    return TrainingImages(labels.numpy(), read)


def request_of(
    flow: Glow,
    test: LabelledImages,
    training: TrainingImages | None = None,
    *,
    n: int = 8,
    y: int | None = None,
    attribute: tuple[int, ...] | None = None,
    class_names: tuple[str, ...] = (),
) -> SampleRequest:
    """Return a request for pictures of a flow at temperature 0.7, with three frames of a movement."""
    return SampleRequest(
        flow,
        "tiny",
        class_names,
        n,
        0.7,
        y,
        frames=3,
        seed=0,
        real=RealImages(test, training),
        attribute=attribute,
    )


def figure_of(mode: str, request: SampleRequest) -> Figure:
    """Return the figure of a mode that does not move."""
    figure = MODES[mode].draw(request)
    assert isinstance(figure, Figure)
    return figure


def pixels_in(figure: Figure) -> list[NDArray[np.uint8]]:
    """Return the images of a figure in their order, (height, width, 3) each."""
    return [np.asarray(artist.get_array(), np.uint8) for artist in figure.artists if isinstance(artist, BboxImage)]


def title_of(figure: Figure) -> str:
    """Return the title as one line."""
    return figure.texts[-1].get_text().replace("\n", " ")

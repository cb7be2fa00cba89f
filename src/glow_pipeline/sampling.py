"""Images that a model draws: fresh ones, one set at many temperatures, and paths between real ones."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.flow import Glow
from glow_pipeline.threads import chosen_threads

HIGHEST_TEMPERATURE = 2.0
T = TypeVar("T")


class Decoded(NamedTuple):
    """Images that latents were decoded to.

    Attributes:
        images: uint8 (n, C, H, W) below 2**n_bits.
        broken: bool (n,), whether the flow's inverse overflowed: such an image means nothing.
    """

    images: Tensor
    broken: Tensor


@dataclass(frozen=True)
class Movement:
    """Images that change from step to step.

    Attributes:
        steps: what the steps are called: the temperature, or the part of the way.
        decoded: for each step.
    """

    steps: list[float]
    decoded: list[Decoded]

    @property
    def images(self) -> list[Tensor]:
        """Return for each step uint8 (n, C, H, W) below 2**n_bits."""
        return [decoded.images for decoded in self.decoded]

    @property
    def broken(self) -> list[Tensor]:
        """Return for each step bool (n,)."""
        return [decoded.broken for decoded in self.decoded]


class Endpoints(NamedTuple):
    """Real images that interpolations begin and end with, and their labels."""

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
        return cls.pairs(torch.empty(0, *shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))


@torch.no_grad()
def decode(model: Glow, eps: list[Tensor], temperature: float = 1.0, y: Tensor | None = None) -> Decoded:
    """Decode latents times temperature, as `Glow.decode`, and mark the images that could not be computed."""
    x = model.inverse([temperature * e for e in eps], y)
    return Decoded(model.dequantization.inverse(x), ~x.isfinite().flatten(1).all(dim=1))


def draw(model: Glow, n: int, temperature: float, generator: torch.Generator, y: Tensor | None = None) -> Decoded:
    """Draw n fresh images; y are their classes (n,), if the model is conditioned."""
    return decode(model, model.draw_latents(n, generator), temperature, y)


def vary_temperature(model: Glow, n: int, frames: int, generator: torch.Generator, y: Tensor | None = None) -> Movement:
    """The same n latents at `frames` temperatures from 0 to 2."""
    eps = model.draw_latents(n, generator)
    temperatures = np.linspace(0, HIGHEST_TEMPERATURE, frames).tolist()
    return Movement(temperatures, [decode(model, eps, t, y) for t in _watched(model, temperatures)])


@torch.no_grad()
def interpolate(
    model: Glow,
    start: Tensor,
    end: Tensor,
    frames: int,
    noise: Tensor,
    y_start: Tensor | None = None,
    y_end: Tensor | None = None,
) -> Movement:
    """Straight lines in latent space from real images to real images.

    A class-conditioned model reads the latents by the class of the nearer end.

    Args:
        start, end: uint8 (n, C, H, W) below 2**n_bits.
        noise: the same shape, uniform in [0, 1), for dequantization.
        y_start, y_end: their classes (n,), if the model is conditioned.
    """
    eps_start, _ = model(model.dequantization.forward(start, noise)[0], y_start)
    eps_end, _ = model(model.dequantization.forward(end, noise)[0], y_end)
    parts = np.linspace(0, 1, frames).tolist()
    images = [
        decode(
            model,
            [(1 - part) * a + part * b for a, b in zip(eps_start, eps_end, strict=True)],
            y=y_start if part < 0.5 else y_end,
        )
        for part in _watched(model, parts)
    ]
    return Movement(parts, images)


def sampling_threads(model: Glow, n: int, pictures: int, fixed: int | None = None) -> AbstractContextManager[None]:
    """Have a CPU draw images within the block with the number of threads that a short measurement finds best.

    Args:
        model: the model.
        n: images at once.
        pictures: how often so many.
        fixed: the number, if it is not to be chosen.
    """
    _, height, width = model.image_shape

    def work(images: int) -> None:
        model.decode(
            model.draw_latents(images, torch.Generator().manual_seed(0)), y=torch.zeros(images, dtype=torch.int64)
        )

    device = next(model.parameters()).device
    return chosen_threads(device, work, pixels=height * width, batch=n, total=n * pictures, fixed=fixed)


def there_and_back(images: list[T]) -> list[T]:
    """A sequence that ends where it began, each turning point once."""
    return images + images[-2:0:-1]


def _watched(model: Glow, steps: list[float]) -> Iterator[float]:
    """The steps, with a progress bar when they take long; the model does not change on the way."""
    with model.unchanging():
        yield from tqdm(steps, desc="sample", unit="picture", delay=2, leave=False)

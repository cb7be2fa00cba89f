"""Images from latents, and the number of threads to draw them with."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.flow import Glow
from glow_pipeline.threads import chosen_threads


class Decoded(NamedTuple):
    """Images decoded from latents.

    Attributes:
        images: uint8 (n, C, H, W) below 2**n_bits.
        broken: bool (n,), true where the flow's inverse overflowed: such an image is meaningless.
    """

    images: Tensor
    broken: Tensor

    @classmethod
    def real(cls, images: Tensor) -> Self:
        """Return real images beside decoded ones; none of them is broken."""
        return cls(images, torch.zeros(len(images), dtype=torch.bool))


@dataclass(frozen=True)
class Movement:
    """Images that change from step to step.

    Attributes:
        steps: the coordinate of each step: the temperature, or the fraction of the path.
        decoded: the images of each step.
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

    def steps_with_broken_images(self) -> list[float]:
        """Return the coordinates of the steps of which an image could not be computed."""
        broken = torch.stack(self.broken).any(dim=1).tolist()  # of all steps at once: each reading waits for the device
        return [step for step, is_broken in zip(self.steps, broken, strict=True) if is_broken]


@torch.no_grad()
def decode(model: Glow, eps: list[Tensor], temperature: float = 1.0, y: Tensor | None = None) -> Decoded:
    """Decode latents times temperature, as `Glow.decode`, and mark the images that could not be computed."""
    return rounded(model, model.inverse([temperature * e for e in eps], y))


def rounded(model: Glow, x: Tensor) -> Decoded:
    """Round the flow's output x (n, C, H, W) to images, and mark those that could not be computed."""
    return Decoded(model.dequantization.inverse(x), ~x.isfinite().flatten(1).all(dim=1))


def draw(model: Glow, n: int, temperature: float, generator: torch.Generator, y: Tensor | None = None) -> Decoded:
    """Draw n fresh images; y are their classes (n,), if the model is conditioned."""
    return decode(model, model.draw_latents(n, generator), temperature, y)


def steps_with_progress(model: Glow, steps: list[float]) -> Iterator[float]:
    """Yield the steps, with a progress bar where they take long; the model's weights must not change meanwhile."""
    with model.unchanging():
        yield from tqdm(steps, desc="sample", unit="picture", delay=2, leave=False)


def sampling_threads(model: Glow, n: int, pictures: int, fixed: int | None = None) -> AbstractContextManager[None]:
    """Have a CPU draw images inside the block with the number of threads that a short measurement finds best.

    Args:
        model: the flow.
        n: images at once.
        pictures: how many times n images are drawn.
        fixed: the number, if it is not to be chosen.
    """
    _, height, width = model.image_shape

    def work(images: int) -> None:
        model.decode(
            model.draw_latents(images, torch.Generator().manual_seed(0)), y=torch.zeros(images, dtype=torch.int64)
        )

    device = next(model.parameters()).device
    return chosen_threads(device, work, pixels=height * width, batch=n, total=n * pictures, fixed=fixed)

"""Paths between real images."""

from functools import partial
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling.decoding import Decoded, Movement, decode, steps_with_progress
from glow_pipeline.sampling.latent_path import LATENT_PATHS, LatentPath
from glow_pipeline.sampling.mode import SampleRequest, SamplingMode
from glow_pipeline.sampling.pictures import broken_at_any_step, movie, steps_and_columns, titled, warning

COLUMNS = 11  # of the still picture: a tenth of the path apart, so that labels of two decimals are exact
NAMES: dict[LatentPath, str] = {"linear": "straight lines", "sphere": "great circles"}


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


class Interpolate(SamplingMode):
    """Paths in latent space between pairs of test images: a movie, and a row for each of the first pairs."""

    name: ClassVar[str] = "interpolate"
    summary: ClassVar[str] = "between real images"
    least_test_images: ClassVar[int] = 2

    def n_test_images(self, n: int) -> int:
        return max(2, n // 2 * 2)

    def pictures(self, request: SampleRequest) -> int:
        return request.frames + COLUMNS

    def draw(self, request: SampleRequest) -> Movie:
        ends = Endpoints.pairs(*(tensor.to(request.device) for tensor in request.real.test))
        noise = torch.rand(
            ends.start.shape,
            generator=generator(request.seed, "interpolate", 0, request.device),
            device=request.device,
        )
        moving = partial(_move, request, ends, noise)
        steps, columns = steps_and_columns(moving, last=1, frames=request.frames, columns=COLUMNS)
        title = titled(request, f"{NAMES[request.path]} in latent space between real test images")
        return movie(
            request.flow,
            steps,
            [Decoded.real(ends.start), *columns.decoded, Decoded.real(ends.end)],
            column_labels=["real", *[f"{part:.2f}" for part in columns.steps], "real"],
            title=title + warning(broken_at_any_step(steps, columns)),
        )


@torch.no_grad()
def interpolate(
    model: Glow,
    start: Tensor,
    end: Tensor,
    parts: list[float],
    noise: Tensor,
    y_start: Tensor | None = None,
    y_end: Tensor | None = None,
    path: LatentPath = "linear",
) -> Movement:
    """Follow paths in latent space from real images to real images.

    A class-conditioned model reads the latents by the class of the nearer end.

    Args:
        model: the flow.
        start, end: uint8 (n, C, H, W) below 2**n_bits.
        parts: of the path, at which it is decoded: 0 is the start and 1 the end.
        noise: the same shape, uniform in [0, 1), for dequantization.
        y_start, y_end: their classes (n,), if the model is conditioned.
        path: its form.
    """
    eps_start, _ = model(model.dequantization.forward(start, noise)[0], y_start)
    eps_end, _ = model(model.dequantization.forward(end, noise)[0], y_end)
    images = [
        decode(model, LATENT_PATHS[path](eps_start, eps_end, part), y=y_start if part < 0.5 else y_end)
        for part in steps_with_progress(model, parts)
    ]
    return Movement(parts, images)


def _move(request: SampleRequest, ends: Endpoints, noise: Tensor, parts: list[float]) -> Movement:
    y_start, y_end = (ends.y_start, ends.y_end) if request.flow.y_condition else (None, None)
    return interpolate(request.flow, ends.start, ends.end, parts, noise, y_start, y_end, request.path)

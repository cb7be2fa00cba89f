"""Paths between real images."""

from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling.decoding import Decoded, Movement, decode, steps_with_progress
from glow_pipeline.sampling.mode import Endpoints, SampleRequest, SamplingMode
from glow_pipeline.sampling.pictures import STILL_COLUMNS, broken_at_any_step, movie, steps_and_columns, warning


class Interpolate(SamplingMode):
    """Straight lines in latent space between pairs of test images: a movie, and a row for each of the first pairs."""

    name: ClassVar[str] = "interpolate"
    summary: ClassVar[str] = "between real images"
    needs_endpoints: ClassVar[bool] = True

    def draw(self, request: SampleRequest) -> Movie:
        ends = Endpoints(*(tensor.to(request.device) for tensor in request.endpoints))
        noise = torch.rand(
            ends.start.shape,
            generator=generator(request.seed, "interpolate", 0, request.device),
            device=request.device,
        )
        moving = partial(_move, request.flow, ends, noise)
        steps, columns = steps_and_columns(moving, request.frames, STILL_COLUMNS - 2)
        real = torch.zeros(len(ends.start), dtype=torch.bool)  # no real image is broken
        title = f"Glow on {request.dataset}: between real test images"
        return movie(
            request.flow,
            steps,
            [Decoded(ends.start, real), *columns.decoded, Decoded(ends.end, real)],
            column_labels=["real", *[f"{part:.2f}" for part in columns.steps], "real"],
            title=title + warning(broken_at_any_step(steps, columns)),
        )


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
    """Follow straight lines in latent space from real images to real images.

    A class-conditioned model reads the latents by the class of the nearer end.

    Args:
        model: the flow.
        start, end: uint8 (n, C, H, W) below 2**n_bits.
        frames: steps, both ends counted.
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
        for part in steps_with_progress(model, parts)
    ]
    return Movement(parts, images)


def _move(flow: Glow, ends: Endpoints, noise: Tensor, frames: int) -> Movement:
    classes = (ends.y_start, ends.y_end) if flow.y_condition else (None, None)
    return interpolate(flow, ends.start, ends.end, frames, noise, *classes)

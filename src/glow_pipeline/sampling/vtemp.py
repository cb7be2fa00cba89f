"""One set of latents at rising temperature."""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling.decoding import Movement, decode, steps_with_progress
from glow_pipeline.sampling.mode import SampleRequest, SamplingMode
from glow_pipeline.sampling.pictures import broken_at_any_step, movie, steps_and_columns, titled, warning

HIGHEST_TEMPERATURE = 2.0
COLUMNS = 9  # of the still picture: 0.25 apart, so that labels of two decimals are exact and 1 is among them


class VaryTemperature(SamplingMode):
    """One set of latents at temperatures from 0 to 2: a movie, and a row for each of the first images."""

    name: ClassVar[str] = "vtemp"
    summary: ClassVar[str] = "the same latents at temperatures 0 to 2"

    def pictures(self, request: SampleRequest) -> int:
        return request.frames + COLUMNS

    def draw(self, request: SampleRequest) -> Movie:
        moving = partial(_move, request)
        steps, columns = steps_and_columns(moving, last=HIGHEST_TEMPERATURE, frames=request.frames, columns=COLUMNS)
        broken = [t for each in (steps, columns) for t in each.steps_with_broken_images()]
        where = f", the first from T {min(broken):.2f} on" if broken else ""
        title = titled(request, "the same latents at rising temperature T")
        return movie(
            request.flow,
            steps,
            columns.decoded,
            column_labels=[f"T {t:.2f}" for t in columns.steps],
            title=title + warning(broken_at_any_step(steps, columns), where),
        )


def vary_temperature(
    model: Glow, n: int, temperatures: list[float], generator: torch.Generator, y: Tensor | None = None
) -> Movement:
    """Draw n latents and decode them at each temperature; y are their classes (n,), if any."""
    eps = model.draw_latents(n, generator)
    return Movement(temperatures, [decode(model, eps, t, y) for t in steps_with_progress(model, temperatures)])


def _move(request: SampleRequest, temperatures: list[float]) -> Movement:
    random = generator(request.seed, "sample", 0, request.device)
    return vary_temperature(request.flow, request.n, temperatures, random, _classes(request))


def _classes(request: SampleRequest) -> Tensor | None:
    """Return the chosen class for each image, or the classes in turn; None if the flow has none."""
    if not request.flow.y_condition:
        return None
    if request.y is not None:
        return torch.full((request.n,), request.y, device=request.device)
    return torch.arange(request.n, device=request.device) % request.flow.num_classes

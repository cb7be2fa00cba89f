"""One set of latents at rising temperature."""

from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling.decoding import Movement, decode, steps_with_progress
from glow_pipeline.sampling.mode import SampleRequest, SamplingMode
from glow_pipeline.sampling.pictures import STILL_COLUMNS, broken_at_any_step, movie, steps_and_columns, warning

HIGHEST_TEMPERATURE = 2.0


class VaryTemperature(SamplingMode):
    """One set of latents at temperatures from 0 to 2: a movie, and a row for each of the first images."""

    name: ClassVar[str] = "vtemp"
    summary: ClassVar[str] = "the same latents at temperatures 0 to 2"

    def draw(self, request: SampleRequest) -> Movie:
        steps, columns = steps_and_columns(partial(_move, request), request.frames, STILL_COLUMNS)
        broken = [t for each in (steps, columns) for t in each.steps_with_broken_images()]
        where = f", the first from T {min(broken):.2f} on" if broken else ""
        title = f"Glow on {request.dataset}: the same latents at rising temperature"
        return movie(
            request.flow,
            steps,
            columns.decoded,
            column_labels=[f"T {t:.2f}" for t in columns.steps],
            title=title + warning(broken_at_any_step(steps, columns), where),
        )


def vary_temperature(model: Glow, n: int, frames: int, generator: torch.Generator, y: Tensor | None = None) -> Movement:
    """Draw n latents and decode them at `frames` temperatures from 0 to 2; y are their classes (n,), if any."""
    eps = model.draw_latents(n, generator)
    temperatures = np.linspace(0, HIGHEST_TEMPERATURE, frames).tolist()
    return Movement(temperatures, [decode(model, eps, t, y) for t in steps_with_progress(model, temperatures)])


def _move(request: SampleRequest, frames: int) -> Movement:
    random = generator(request.seed, "sample", 0, request.device)
    return vary_temperature(request.flow, request.n, frames, random, _classes(request))


def _classes(request: SampleRequest) -> Tensor | None:
    """Return the chosen class for each image, or the classes in turn; None if the flow has none."""
    if not request.flow.y_condition:
        return None
    if request.y is not None:
        return torch.full((request.n,), request.y, device=request.device)
    return torch.arange(request.n, device=request.device) % request.flow.num_classes

"""Fresh images in a grid."""

from typing import ClassVar

import torch
from matplotlib.figure import Figure

from glow_pipeline.plots.grids import labelled_grid, square_grid
from glow_pipeline.randomness import generator
from glow_pipeline.sampling.decoding import Decoded, draw
from glow_pipeline.sampling.mode import SampleRequest, SamplingMode
from glow_pipeline.sampling.pictures import shown, titled, warning


class Normal(SamplingMode):
    """Fresh images at one temperature: a grid, or of a class-conditioned model a row for each class."""

    name: ClassVar[str] = "normal"
    summary: ClassVar[str] = "a grid"

    def pictures(self, request: SampleRequest) -> int:
        return request.flow.num_classes if request.flow.y_condition else 1

    def draw(self, request: SampleRequest) -> Figure:
        flow, random = request.flow, generator(request.seed, "sample", 0, request.device)
        title = titled(request, "samples", request.temperature)
        if request.y is not None or not flow.y_condition:
            drawn = _of_class(request, request.y, random)
            title = title if request.y is None else f"{title}, {request.class_label(request.y)}"
            return square_grid(shown(flow, drawn), title + warning(drawn.broken))
        with flow.unchanging():
            rows = [_of_class(request, k, random) for k in range(flow.num_classes)]
        return labelled_grid(
            [shown(flow, row) for row in rows],
            row_labels=[request.class_label(k) for k in range(flow.num_classes)],
            title=title + warning(torch.cat([row.broken for row in rows])),
        )


def _of_class(request: SampleRequest, k: int | None, random: torch.Generator) -> Decoded:
    y = None if k is None else torch.full((request.n,), k, device=request.device)
    return draw(request.flow, request.n, request.temperature, random, y)

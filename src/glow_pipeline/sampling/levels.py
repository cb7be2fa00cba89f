"""Images that show the content of each level of the flow."""

from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.plots.grids import labelled_grid
from glow_pipeline.randomness import generator
from glow_pipeline.sampling.decoding import Decoded, decode
from glow_pipeline.sampling.mode import SampleRequest, SamplingMode
from glow_pipeline.sampling.pictures import STILL_ROWS, shown, titled, warning
from glow_pipeline.sampling.several_classes import CHOSEN_AMONG, of_several_classes

DRAWS = 2  # of each level, side by side: what they share is kept, what differs is what the level carries


class Levels(SamplingMode):
    """Test images with the latents of one level at a time drawn anew: a row an image, two columns a level."""

    name: ClassVar[str] = "levels"
    summary: ClassVar[str] = "one level's latents drawn anew"
    least_test_images: ClassVar[int] = 1

    def n_test_images(self, n: int) -> int:  # noqa: ARG002
        return CHOSEN_AMONG

    def pictures(self, request: SampleRequest) -> int:
        return 1 + DRAWS * len(request.flow.latent_shapes)

    @torch.no_grad()
    def draw(self, request: SampleRequest) -> Figure:
        flow = request.flow
        images, labels = (tensor.to(request.device) for tensor in of_several_classes(request.real.test, STILL_ROWS))
        y = labels if flow.y_condition else None
        with flow.unchanging():
            x, _ = flow.dequantization.dequantize(images, generator(request.seed, "levels", 0, request.device))
            eps, _ = flow(x, y)
            drawn = [
                redraw(flow, eps, level, request.temperature, generator(request.seed, "level", step, request.device), y)
                for step, level in enumerate(level for level in range(len(eps)) for _ in range(DRAWS))
            ]
        real = Decoded.real(images)
        columns = [shown(flow, column) for column in (real, *drawn)]
        labels_of_levels = [_label(flow, level) for level in range(len(eps)) for _ in range(DRAWS)]
        subject = (
            f"test images, and with the latents of one level drawn anew ({DRAWS} draws, temperature "
            f"{request.temperature:g}), all others kept. Level 1 is the finest; percent of all latents"
        )
        broken = torch.cat([column.broken for column in drawn]).cpu()
        return labelled_grid(
            [torch.stack([column[row] for column in columns]) for row in range(len(images))],
            column_labels=["real", *labels_of_levels],
            gaps=range(1, len(columns), DRAWS),
            title=titled(request, subject) + warning(broken),
        )


@torch.no_grad()
def redraw(
    model: Glow, eps: list[Tensor], level: int, temperature: float, generator: torch.Generator, y: Tensor | None = None
) -> Decoded:
    """Draw the latents of one level anew, keep those of the others, and decode.

    Kept are the standardised latents. The means and scales that a split predicts for a level follow from the levels
    above it, so what is drawn anew at a level also moves the latents below it before they are standardised.

    Args:
        model: the flow.
        eps: latents of images as `Glow.forward` returns them, finest first.
        level: position in `eps`.
        temperature: factor on the latents that are drawn.
        generator: draws them, on the device of the latents.
        y: classes of the images (n,), if the model is conditioned.
    """
    fresh = temperature * torch.randn(eps[level].shape, generator=generator, device=generator.device)
    return decode(model, [*eps[:level], fresh, *eps[level + 1 :]], y=y)


def _label(flow: Glow, level: int) -> str:
    """Return the number of a level, 1 for the finest, its latents' shape, and its share of all dimensions."""
    channels, height, width = flow.latent_shapes[level]
    share = channels * height * width / flow.dimensions
    return f"level {level + 1}\n{channels}x{height}x{width}\n{100 * share:.3g}%"

"""Test images, encoded and decoded."""

from typing import ClassVar, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.plots.error_map import error_maps
from glow_pipeline.plots.grids import cross_out, frame_images, labelled_grid
from glow_pipeline.randomness import generator
from glow_pipeline.sampling.decoding import Decoded, rounded
from glow_pipeline.sampling.mode import SampleRequest, SamplingMode
from glow_pipeline.sampling.pictures import shown, titled, warning

COLUMNS, MOST_SHOWN = 8, 24
LARGEST_GOOD_ERROR = 0.5  # grey levels


class Reconstructions(NamedTuple):
    """Images that a flow encoded and decoded.

    Attributes:
        decoded: the images n.
        errors: (n, C, H, W), in grey levels, before rounding; not finite where the flow overflowed.
        changed: bool (n, C, H, W), whether the grey level is another one.
    """

    decoded: Decoded
    errors: Tensor
    changed: Tensor

    @property
    def largest(self) -> Tensor:
        """Return the largest error of each image, (n,); infinite if it could not be computed."""
        return self.errors.flatten(1).amax(dim=1).masked_fill(self.decoded.broken, torch.inf)

    def take(self, rows: Tensor) -> "Reconstructions":
        """Return the images of these rows."""
        decoded = Decoded(self.decoded.images[rows], self.decoded.broken[rows])
        return Reconstructions(decoded, self.errors[rows], self.changed[rows])


class Reconstruct(SamplingMode):
    """Test images, what the flow's inverse makes of their latents, and the errors, largest first.

    The flow is invertible exactly, but its float32 passes are not: the errors show how far the model is from that.
    """

    name: ClassVar[str] = "reconstruct"
    summary: ClassVar[str] = "real images, encoded and decoded"
    least_test_images: ClassVar[int] = 1

    def pictures(self, request: SampleRequest) -> int:  # noqa: ARG002
        return 2

    def draw(self, request: SampleRequest) -> Figure:
        flow = request.flow
        images, labels = (tensor.to(request.device) for tensor in request.real.test)
        random = generator(request.seed, "reconstruct", 0, request.device)
        noise = torch.rand(images.shape, generator=random, device=request.device)
        made = reconstruct(flow, images, noise, labels if flow.y_condition else None)
        rows = made.largest.argsort(descending=True, stable=True)[:MOST_SHOWN]
        title = titled(request, _found(made, len(rows))) + warning(made.decoded.broken)
        return _drawn(flow, images[rows], made.take(rows), title)


@torch.no_grad()
def reconstruct(model: Glow, images: Tensor, noise: Tensor, y: Tensor | None = None) -> Reconstructions:
    """Dequantize images, encode and decode them, and compare both before and after rounding.

    Args:
        model: the flow; computes in its own precision.
        images: uint8 (n, C, H, W) below 2**n_bits.
        noise: the same shape, uniform in [0, 1), for dequantization.
        y: classes (n,), if the model is conditioned.
    """
    x, _ = model.dequantization.forward(images, noise)
    with model.unchanging():
        inverse = model.inverse(model(x, y)[0], y)
    decoded = rounded(model, inverse)
    return Reconstructions(decoded, (inverse - x).abs() * model.dequantization.n_levels, decoded.images != images)


def _found(made: Reconstructions, n_shown: int) -> str:
    """Return the part of the title about the errors of the images that could be computed."""
    n, whole = len(made.errors), ~made.decoded.broken
    text = "test images, encoded and decoded"
    if n_shown < n:
        text += f" (the {n_shown} of {n} with the largest errors)"
    if not whole.any():
        return text
    errors, changed = made.errors[whole], made.changed[whole]
    bad = int((made.largest[whole] > LARGEST_GOOD_ERROR).sum())
    within = "all within half a grey level" if bad == 0 else f"{bad} of {n} beyond half a grey level, framed in red"
    largest = _number(float(errors.max()))
    return (
        f"{text}: {within}. Error: largest {largest} grey levels, mean {_number(float(errors.mean()))}; "
        f"{int(changed.sum()):,} of {changed.numel():,} values have another level. "
        f"Error maps: 0 is black, {largest} is yellow"
    )


def _number(error: float) -> str:
    """Return an error with two significant digits: `0.00015`, and below it with an exponent, `1.5e-5`."""
    if 0 < error < 1e-4:  # more digits would not fit below an image
        return np.format_float_scientific(error, precision=1, trim="-", exp_digits=1)
    return np.format_float_positional(error, precision=2, fractional=False, trim="-")


def _drawn(flow: Glow, images: Tensor, made: Reconstructions, title: str) -> Figure:
    """Draw rows of originals, of what was decoded and of errors, and frame what errs by more than half a level."""
    broken, largest = made.decoded.broken, made.largest
    finite = largest[~broken]
    maps = error_maps(made.errors.amax(dim=1), float(finite.max()) if len(finite) else 0.0)
    kinds = {
        "original": cross_out(flow.dequantization.expand(images).cpu(), torch.zeros(len(images), dtype=torch.bool)),
        "decoded": shown(flow, made.decoded),
        "error": cross_out(maps, broken.cpu()),
    }
    bad = ((largest > LARGEST_GOOD_ERROR) & ~broken).tolist()
    captions = ["not finite" if error == torch.inf else _number(error) for error in largest.tolist()]
    rows: list[Tensor] = []
    row_labels: list[str] = []
    row_captions: list[list[str]] = []
    framed: list[bool] = []
    for first in range(0, len(images), COLUMNS):
        block = slice(first, first + COLUMNS)
        for name, pictures in kinds.items():
            rows.append(pictures[block])
            row_labels.append(name)
            framed += bad[block] if name != "original" else [False] * len(bad[block])
            row_captions.append(captions[block] if name == "error" else [""] * len(captions[block]))
    figure = labelled_grid(rows, row_labels=row_labels, captions=row_captions, title=title)
    frame_images(figure, framed)
    return figure

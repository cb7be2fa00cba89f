"""The same latents decoded after several epochs."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.plots.axes import single_axes
from glow_pipeline.plots.grids import labelled_grid
from glow_pipeline.plots.style import LABEL
from glow_pipeline.plots.text import wrap

ROWS = 8
T = TypeVar("T")


def filmstrip(images: Mapping[int, Tensor], title: str) -> Figure:
    """Draw a row of images for each epoch, or for 8 of them that are evenly spread, with the first and the last.

    Args:
        images: epoch -> uint8 (n, 3, H, W), 8 bits, of the same latents; there may be none.
        title: names the images.
    """
    if not images:
        figure, axes = single_axes(6.0, 1.0)
        axes.set_axis_off()
        text = wrap(f"{title}: no samples were kept", 5.5, LABEL)
        axes.text(0, 0.5, text, fontsize=LABEL, va="center", in_layout=False, parse_math=False)
        return figure
    epochs = evenly_spread(sorted(images), ROWS)
    return labelled_grid(
        [images[epoch] for epoch in epochs], row_labels=[f"epoch {epoch}" for epoch in epochs], title=title
    )


def evenly_spread(items: Sequence[T], most: int) -> list[T]:
    """Return up to `most` (2 or more) of the items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]

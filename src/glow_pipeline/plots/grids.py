"""Grids of images, as figures and as frames of a movie."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.transforms import Bbox, TransformedBbox
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.plots.text import shorten, wrap

CELL, EDGE, ROW_LABELS, NARROWEST_WITH_TITLE = 0.8, 0.1, 0.8, 3.6  # inches
COLUMN_LABELS, LABEL_MARGIN, TITLE_MARGIN, TITLE_LINE = 0.35, 0.05, 0.08, 0.17
FILLED = 0.95  # of a cell's sides by its image
TITLE, LABEL = 10, 9  # points
RED, GREY = (200, 30, 30), 205


def square_grid(images: Tensor, title: str | None = None) -> Figure:
    """Draw images in about as many columns as rows.

    Args:
        images: uint8 (n, C, H, W), 8 bits.
        title: as in `labelled_grid`.
    """
    n_columns = math.ceil(math.sqrt(len(images)))
    return labelled_grid([images[i : i + n_columns] for i in range(0, len(images), n_columns)], title=title)


def labelled_grid(
    rows: Sequence[Tensor],
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw rows of images, with names at the left and on top.

    The figure is as large as its images and names need. matplotlib's layout engines fit axes into a figure of a given
    size, so the size is computed here. The images have no axes of their own, each of which would take 10 ms to make.

    Args:
        rows: uint8 (n, C, H, W), 8 bits, each; all of one size, n may differ.
        row_labels: a name for each row, shortened if it is long.
        column_labels: a name for each column, shortened if it is long.
        title: is broken into lines, and names in it are shortened, so that it stays within the figure.
    """
    n_columns = max(len(row) for row in rows)
    height, width = rows[0].shape[2:]
    left = (ROW_LABELS if row_labels else 0.0) + EDGE
    figure_width = max(n_columns * CELL + left + EDGE, NARROWEST_WITH_TITLE if title else 0.0)
    title_lines = wrap(title, figure_width - left - EDGE, TITLE, max_lines=6) if title else ""
    title_height = 2 * TITLE_MARGIN + TITLE_LINE * (title_lines.count("\n") + 1) if title else 0.0
    top = (COLUMN_LABELS if column_labels else EDGE) + title_height
    figure_height = len(rows) * CELL * height / width + top + EDGE
    figure = Figure(figsize=(figure_width, figure_height))
    figure.add_axes((0, 0, 1, 1)).set_axis_off()  # a notebook shows no figure without axes
    row_height = CELL * height / width
    inches = figure.dpi_scale_trans
    label_style: dict[str, Any] = {"transform": inches, "fontsize": LABEL, "parse_math": False}
    for i, row in enumerate(rows):
        bottom = figure_height - top - (i + FILLED) * row_height
        for j, image in enumerate(row):
            cell = Bbox.from_bounds(left + j * CELL, bottom, FILLED * CELL, FILLED * row_height)
            picture = BboxImage(TransformedBbox(cell, inches), interpolation="nearest")
            picture.set_data(_rgb(image[None])[0].permute(1, 2, 0).numpy())
            figure.add_artist(picture)
        if row_labels:
            label = shorten(row_labels[i], ROW_LABELS - EDGE, LABEL)
            middle = bottom + FILLED * row_height / 2
            figure.text(left - LABEL_MARGIN, middle, label, ha="right", va="center", **label_style)
    for j, label in enumerate(column_labels or []):
        middle, y = left + (j + FILLED / 2) * CELL, figure_height - top + LABEL_MARGIN
        figure.text(middle, y, shorten(label, CELL, LABEL), ha="center", va="baseline", **label_style)
    if title:
        y = figure_height - TITLE_MARGIN
        figure.text(left, y, title_lines, ha="left", va="top", **{**label_style, "fontsize": TITLE})
    return figure


def cross_out(images: Tensor, marked: Tensor) -> Tensor:
    """Return the images in RGB, with a red cross on grey in place of the marked ones, which do not exist.

    Args:
        images: uint8 (n, C, H, W), 8 bits.
        marked: bool (n,).
    """
    height, width = images.shape[2:]
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    # Distance from each diagonal, relative to the image's sides.
    along, across = (row + 0.5) / height, (column + 0.5) / width
    thickness = max(0.06, 0.5 / min(height, width))
    on_cross = torch.minimum((along - across).abs(), (along + across - 1).abs()) < thickness
    cross = torch.where(on_cross, torch.tensor(RED).view(3, 1, 1), torch.tensor(GREY)).to(torch.uint8)
    return torch.where(marked.view(-1, 1, 1, 1), cross, _rgb(images))


def frame(images: Tensor, shortest_side: int = 320) -> NDArray[np.uint8]:
    """Return images in a square grid as pixels (height, width, 3), each pixel enlarged to a block.

    Args:
        images: uint8 (n, C, H, W), 8 bits.
        shortest_side: the least length of the frame's shorter side, in pixels.
    """
    from torchvision.utils import make_grid  # here, because it takes seconds and only movies need it

    grid = make_grid(_rgb(images), nrow=math.ceil(math.sqrt(len(images))), padding=1, pad_value=128)
    factor = max(1, math.ceil(shortest_side / min(grid.shape[1:])))
    enlarged = grid.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
    pixels: NDArray[np.uint8] = enlarged.permute(1, 2, 0).to(torch.uint8).numpy()
    return pixels


def _rgb(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)

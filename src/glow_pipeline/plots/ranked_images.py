"""Images beside their ranks by two scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.plots.axes import TITLE
from glow_pipeline.plots.text import shorten, wrap

CELL, GAP, CAPTION_LINE, HEADING, EDGE = 1.05, 0.12, 0.11, 0.24, 0.1  # inches
SMALL, HEADING_SIZE = 6, 9  # points


@dataclass(frozen=True)
class RankedRow:
    """A row of images with a heading above it and lines of text below each image.

    Attributes:
        heading: what these images have in common.
        images: uint8 (C, H, W), 8 bits, each.
        captions: lines below each image.
    """

    heading: str
    images: Sequence[Tensor]
    captions: Sequence[Sequence[str]]


def ranked_images(rows: Sequence[RankedRow], title: str, cell: float = CELL) -> Figure:
    """Draw rows of images, each with a heading, and each image with its caption.

    The figure is as large as images and texts need.

    Args:
        rows: of images of one size.
        title: is broken into lines.
        cell: width of an image and its caption in inches.
    """
    n_columns = max(len(row.images) for row in rows)
    n_lines = max((len(caption) for row in rows for caption in row.captions), default=0)
    height, width = next(image for row in rows for image in row.images).shape[1:]
    tall = cell * height / width
    figure_width = max(n_columns * (cell + GAP) + 2 * EDGE, 4.0)
    heading_lines = wrap(title, figure_width - 2 * EDGE, TITLE)
    title_height = 0.2 * (heading_lines.count("\n") + 1) + EDGE
    row_height = HEADING + tall + n_lines * CAPTION_LINE + GAP
    figure_height = title_height + len(rows) * row_height + EDGE
    figure = Figure(figsize=(figure_width, figure_height))
    figure.text(
        EDGE / figure_width, 1 - EDGE / figure_height, heading_lines, va="top", fontsize=TITLE, parse_math=False
    )
    for i, row in enumerate(rows):
        top = figure_height - title_height - i * row_height
        x, y = EDGE / figure_width, (top - 0.06) / figure_height
        heading = shorten(row.heading, figure_width - 2 * EDGE, HEADING_SIZE)
        figure.text(x, y, heading, va="top", fontsize=HEADING_SIZE, parse_math=False)
        for j, (image, caption) in enumerate(zip(row.images, row.captions, strict=True)):
            left, bottom = EDGE + j * (cell + GAP), top - HEADING - tall
            box = (left / figure_width, bottom / figure_height, cell / figure_width, tall / figure_height)
            axes = figure.add_axes(box, xticks=[], yticks=[], frame_on=False)
            axes.imshow(_pixels(image), interpolation="nearest", aspect="auto")
            lines = "\n".join(shorten(line, cell + GAP / 2, SMALL) for line in caption)
            axes.text(
                0, -0.03, lines, transform=axes.transAxes, va="top", fontsize=SMALL, linespacing=1.1, parse_math=False
            )
    return figure


def _pixels(image: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = (
        image.expand(3, -1, -1).permute(1, 2, 0).to(torch.uint8).numpy()
    )
    return pixels

"""Images beside their ranks by two scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.plots.style import TITLE, legible
from glow_pipeline.plots.text import shorten, wrap

CELL, GAP, CAPTION_LINE, HEADING, EDGE, NARROWEST = 1.1, 0.12, 0.125, 0.24, 0.1, 4.0  # inches
SMALL, HEADING_SIZE = 7.0, 9.0  # points
A_LINE = 4  # images


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


def ranked_images(rows: Sequence[RankedRow], title: str, cell: float = CELL, a_line: int = A_LINE) -> Figure:
    """Draw rows of images, each with a heading, and each image with its caption.

    The figure is as large as images and texts need.

    Args:
        rows: of images of one size; those of a row may be on several lines.
        title: is broken into lines.
        cell: width of an image and its caption in inches.
        a_line: most images on a line; of more the captions would be too small where MLflow shows the figure.
    """
    n_columns = min(a_line, max(len(row.images) for row in rows))
    n_lines = [math.ceil(len(row.images) / a_line) for row in rows]
    n_caption = max((len(caption) for row in rows for caption in row.captions), default=0)
    height, width = next(image for row in rows for image in row.images).shape[1:]
    tall = cell * height / width
    figure_width = max(n_columns * (cell + GAP) + 2 * EDGE, NARROWEST)
    small, heading_size, title_size = (legible(figure_width, size) for size in (SMALL, HEADING_SIZE, TITLE))
    shown_title = wrap(title, figure_width - 2 * EDGE, title_size)
    title_height = 0.2 * (shown_title.count("\n") + 1) + EDGE
    line_height = tall + n_caption * CAPTION_LINE * small / SMALL + GAP
    figure_height = title_height + sum(HEADING + n * line_height for n in n_lines) + EDGE
    figure = Figure(figsize=(figure_width, figure_height))
    figure.text(EDGE / figure_width, 1 - EDGE / figure_height, shown_title, **_text(title_size))
    top = figure_height - title_height
    for row, n in zip(rows, n_lines, strict=True):
        heading = shorten(row.heading, figure_width - 2 * EDGE, heading_size)
        figure.text(EDGE / figure_width, (top - 0.06) / figure_height, heading, **_text(heading_size))
        for j, (image, caption) in enumerate(zip(row.images, row.captions, strict=True)):
            left, bottom = EDGE + j % a_line * (cell + GAP), top - HEADING - j // a_line * line_height - tall
            box = (left / figure_width, bottom / figure_height, cell / figure_width, tall / figure_height)
            axes = figure.add_axes(box, xticks=[], yticks=[], frame_on=False)
            axes.imshow(_pixels(image), interpolation="nearest", aspect="auto")
            lines = "\n".join(shorten(line, cell + GAP / 2, small) for line in caption)
            axes.text(0, -0.03, lines, transform=axes.transAxes, linespacing=1.1, **_text(small))
        top -= HEADING + n * line_height
    return figure


def _text(size: float) -> dict[str, Any]:
    return {"va": "top", "fontsize": size, "parse_math": False}


def _pixels(image: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = (
        image.expand(3, -1, -1).permute(1, 2, 0).to(torch.uint8).numpy()
    )
    return pixels

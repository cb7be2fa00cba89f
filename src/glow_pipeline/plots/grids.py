"""Grids of images, as figures and as frames of a movie."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox, TransformedBbox
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.plots.style import legible
from glow_pipeline.plots.text import shorten, wrap
from glow_pipeline.plots.text import width as text_width

CELL, EDGE, ROW_LABELS, NARROWEST_WITH_TITLE = 0.8, 0.1, 0.8, 3.6  # inches
COLUMN_LABELS, LABEL_MARGIN, TITLE_MARGIN, TITLE_LINE, LABEL_LINE = 0.35, 0.05, 0.08, 0.17, 0.15
CAPTION_MARGIN, COLUMN_GAP = 0.03, 0.25
MOST_TITLE_LINES = 10
FILLED = 0.95  # of a cell's sides by its image
TITLE, LABEL, FRAME = 10, 9, 2  # points
GROWTH, LARGEST_SCALE = 1.08, 2.25  # of a wide figure by its larger names; of its texts
RED, GREY, LINES = (200, 30, 30), 205, 128


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
    captions: Sequence[Sequence[str]] | None = None,
    gaps: Collection[int] = (),
    title: str | None = None,
) -> Figure:
    """Draw rows of images, with names at the left and on top.

    The figure is as large as its images and names need. matplotlib's layout engines fit axes into a figure of a given
    size, so the size is computed here. The images have no axes of their own, each of which would take 10 ms to make.

    Args:
        rows: uint8 (n, C, H, W), 8 bits, each; all of one size, n may differ.
        row_labels: a name for each row, of one or several lines, which are shortened if they are long.
        column_labels: a name for each column, likewise.
        captions: for each row a text below each image, likewise; empty where there is none.
        gaps: the columns that stand apart from the one before.
        title: is broken into lines, and names in it are shortened, so that it stays within the figure.
    """
    n_columns = max(len(row) for row in rows)
    height, width = rows[0].shape[2:]
    scale = _scale_of_texts(n_columns, named=bool(row_labels))
    label_size, title_size = scale * LABEL, scale * TITLE
    left = (scale * ROW_LABELS if row_labels else 0.0) + EDGE
    # Left edge of each column, and of the one that would follow.
    edges = [left + j * CELL + COLUMN_GAP * sum(gap <= j for gap in gaps) for j in range(n_columns + 1)]
    figure_width = max(edges[-1] + EDGE, NARROWEST_WITH_TITLE if title else 0.0)
    title_lines = wrap(title, figure_width - left - EDGE, title_size, MOST_TITLE_LINES) if title else ""
    title_height = 2 * TITLE_MARGIN + scale * TITLE_LINE * (title_lines.count("\n") + 1) if title else 0.0
    names_height = scale * (COLUMN_LABELS + LABEL_LINE * (_n_lines(column_labels) - 1)) if column_labels else EDGE
    top = names_height + title_height
    row_heights = [CELL * height / width + scale * _caption_height(row) for row in captions or [()] * len(rows)]
    image_height = FILLED * CELL * height / width
    figure_height = sum(row_heights) + top + EDGE
    figure = Figure(figsize=(figure_width, figure_height))
    figure.add_axes((0, 0, 1, 1)).set_axis_off()  # a notebook shows no figure without axes
    inches = figure.dpi_scale_trans
    label_style: dict[str, Any] = {"transform": inches, "fontsize": label_size, "parse_math": False}
    for i, row in enumerate(rows):
        bottom = figure_height - top - sum(row_heights[:i]) - image_height
        for j, image in enumerate(row):
            cell = Bbox.from_bounds(edges[j], bottom, FILLED * CELL, image_height)
            picture = BboxImage(TransformedBbox(cell, inches), interpolation="nearest")
            picture.set_data(_rgb(image[None])[0].permute(1, 2, 0).numpy())
            figure.add_artist(picture)
            if captions and captions[i][j]:
                middle, text = edges[j] + FILLED * CELL / 2, _shorten_lines(captions[i][j], CELL, label_size)
                figure.text(middle, bottom - CAPTION_MARGIN, text, ha="center", va="top", **label_style)
        if row_labels:
            label = _shorten_lines(row_labels[i], scale * ROW_LABELS - EDGE, label_size)
            middle = bottom + image_height / 2
            figure.text(left - LABEL_MARGIN, middle, label, ha="right", va="center", **label_style)
    column_style = label_style | {"fontsize": _size_of_column_labels(column_labels or [], label_size)}
    for j, label in enumerate(column_labels or []):
        middle, y = edges[j] + FILLED * CELL / 2, figure_height - top + LABEL_MARGIN
        text = _shorten_lines(label, CELL, column_style["fontsize"])
        figure.text(middle, y, text, ha="center", va="baseline", **column_style)
    if title:
        y = figure_height - TITLE_MARGIN
        figure.text(left, y, title_lines, ha="left", va="top", **{**label_style, "fontsize": title_size})
    return figure


def _scale_of_texts(n_columns: int, *, named: bool) -> float:
    """Return the factor on all texts: up to 16 columns they are legible where MLflow shows the figure."""
    width = n_columns * CELL + (ROW_LABELS if named else 0.0) + 2 * EDGE
    return min(legible(GROWTH * width, LABEL) / LABEL, LARGEST_SCALE)


def _size_of_column_labels(labels: Sequence[str], size: float) -> float:
    """Return the size at which all labels fit over their columns; those that need less than LABEL are shortened."""
    widest = max((text_width(line, size) for label in labels for line in label.split("\n")), default=0.0)
    return size if widest <= CELL else max(size * CELL / widest, LABEL)


def _n_lines(texts: Sequence[str]) -> int:
    return max((text.count("\n") + 1 for text in texts if text), default=0)


def _caption_height(captions: Sequence[str]) -> float:
    """Return the height of the captions of one row, in inches."""
    n_lines = _n_lines(captions)
    return CAPTION_MARGIN + LABEL_LINE * n_lines if n_lines else 0.0


def _shorten_lines(text: str, inches: float, size: float) -> str:
    return "\n".join(shorten(line, inches, size) for line in text.split("\n"))


def frame_images(figure: Figure, framed: Sequence[bool]) -> None:
    """Draw a red frame around some images of a grid; `framed` has an entry for each, in the order of its rows."""
    pictures = [artist for artist in figure.artists if isinstance(artist, BboxImage)]
    for picture, has_frame in zip(pictures, framed, strict=True):
        if has_frame:
            cell = picture.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
            red = [value / 255 for value in RED]
            style: dict[str, Any] = {"transform": figure.dpi_scale_trans, "fill": False, "linewidth": FRAME}
            figure.add_artist(Rectangle(cell.p0, cell.width, cell.height, edgecolor=red, **style))


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
    """Return images in a square grid with lines between them as pixels (height, width, 3), each enlarged to a block.

    Args:
        images: uint8 (n, C, H, W), 8 bits.
        shortest_side: the least length of the frame's shorter side, in pixels.
    """
    n_columns = math.ceil(math.sqrt(len(images)))
    height, width = images.shape[2:]
    # torchvision's make_grid draws the same, and importing it takes seconds.
    rows, columns = math.ceil(len(images) / n_columns) * (height + 1) + 1, n_columns * (width + 1) + 1
    grid = torch.full((3, rows, columns), LINES, dtype=torch.uint8)
    for i, image in enumerate(_rgb(images)):
        top, left = i // n_columns * (height + 1) + 1, i % n_columns * (width + 1) + 1
        grid[:, top : top + height, left : left + width] = image
    factor = max(1, math.ceil(shortest_side / min(grid.shape[1:])))
    enlarged = grid.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
    pixels: NDArray[np.uint8] = enlarged.permute(1, 2, 0).numpy()
    return pixels


def _rgb(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)

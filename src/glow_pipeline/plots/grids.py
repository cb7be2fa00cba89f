"""Images in rows and columns."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor


def square_grid(images: Tensor, title: str | None = None) -> Figure:
    """As many columns as rows, about.

    Args:
        images: uint8 (n, C, H, W), 8 bits.
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
    """One row of images after another, with names at the left and on top.

    Args:
        rows: uint8 (n, C, H, W), 8 bits, each; one size, n may differ.
    """
    n_columns = max(len(row) for row in rows)
    height, width = rows[0].shape[2:]
    cell = 0.8
    left, top = (0.9 if row_labels else 0.1), (0.35 if column_labels else 0.1) + (0.35 if title else 0.0)
    figure_width = n_columns * cell + left + 0.1
    figure_height = len(rows) * cell * height / width + top + 0.1
    figure = Figure(figsize=(figure_width, figure_height))
    grid = figure.subplots(
        len(rows),
        n_columns,
        squeeze=False,
        gridspec_kw={
            "left": left / figure_width,
            "right": 1 - 0.1 / figure_width,
            "top": 1 - top / figure_height,
            "bottom": 0.1 / figure_height,
            "wspace": 0.05,
            "hspace": 0.05,
        },
    )
    for i, row in enumerate(rows):
        for j, axes in enumerate(grid[i]):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_frame_on(False)
            if j < len(row):
                axes.imshow(_rgb(row[j : j + 1])[0].permute(1, 2, 0).numpy(), interpolation="nearest", aspect="auto")
        if row_labels:
            grid[i, 0].set_ylabel(row_labels[i], rotation=0, ha="right", va="center", fontsize=9)
    for j, label in enumerate(column_labels or []):
        grid[0, j].set_title(label, fontsize=9, pad=3)
    if title:
        figure.text(left / figure_width, 1 - 0.08 / figure_height, title, ha="left", va="top", fontsize=10)
    return figure


def frame(images: Tensor, shortest_side: int = 320) -> NDArray[np.uint8]:
    """Images in a square grid as pixels (height, width, 3), each pixel enlarged to a block.

    Args:
        images: uint8 (n, C, H, W), 8 bits.
        shortest_side: of the frame, at least, in pixels.
    """
    from torchvision.utils import make_grid  # here, because it takes seconds and only movies need it

    grid = make_grid(_rgb(images), nrow=math.ceil(math.sqrt(len(images))), padding=1, pad_value=128)
    factor = max(1, math.ceil(shortest_side / min(grid.shape[1:])))
    enlarged = grid.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
    pixels: NDArray[np.uint8] = enlarged.permute(1, 2, 0).to(torch.uint8).numpy()
    return pixels


def _rgb(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)

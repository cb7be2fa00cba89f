"""A matrix of numbers between 0 and 1 as a heat map."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from glow_pipeline.plots.axes import set_title
from glow_pipeline.plots.style import legible, new_figure
from glow_pipeline.plots.text import shorten

CELL_WIDTH, CELL_HEIGHT, NAMES, HEAD = 0.62, 0.3, 2.6, 1.9  # inches
NUMBER, NAME, LARGEST = 8.0, 9.0, 12.0  # points; larger numbers would not fit into their cells
COLOURS = "RdBu"  # red below the middle, blue above, also distinguishable by the colour-blind
DARK = 0.32  # distance from the middle beyond which a cell takes white numbers


def heat_map(
    values: NDArray[np.floating],
    row_names: Sequence[str],
    column_names: Sequence[str],
    title: str,
    *,
    groups: Sequence[str] | None = None,
) -> Figure:
    """Draw numbers in coloured cells; the middle of the colours is 0.5.

    The figure grows with the matrix, and up to 8 columns so do the texts: they are legible at any width at which the
    page shows it. A wider one has to be opened in full size.

    Args:
        values: (rows, columns), from 0 to 1; NaN leaves a cell empty.
        row_names, column_names: are shortened if they are long.
        title: is broken into lines.
        groups: a name for each row; a line separates rows of different groups, and their name stands at the right.
    """
    n_rows, n_columns = values.shape
    figure_width = max(n_columns * CELL_WIDTH + NAMES + 0.9, 5.0)
    number_size, name_size = (min(legible(figure_width, size), LARGEST) for size in (NUMBER, NAME))
    figure = new_figure(figure_width, n_rows * CELL_HEIGHT + HEAD)
    axes = figure.subplots()
    axes.imshow(np.ma.masked_invalid(values), cmap=COLOURS, vmin=0, vmax=1, aspect="auto")
    axes.set_facecolor("0.9")
    axes.set_xticks(
        range(n_columns), [_shown(name, HEAD - 0.5, name_size) for name in column_names], fontsize=name_size
    )
    axes.set_yticks(range(n_rows), [_shown(name, NAMES, name_size) for name in row_names], fontsize=name_size)
    axes.tick_params(axis="x", rotation=45, top=True, bottom=False, labeltop=True, labelbottom=False, length=0)
    axes.tick_params(axis="y", length=0)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("left")
        label.set_rotation_mode("anchor")
    for row, column in np.ndindex(values.shape):
        value = float(values[row, column])
        if np.isfinite(value):
            colour = "white" if abs(value - 0.5) > DARK else "black"
            axes.text(column, row, _number(value), ha="center", va="center", fontsize=number_size, color=colour)
    axes.set_xticks(np.arange(1, n_columns) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, n_rows) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0, top=False, bottom=False, left=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if groups is not None:
        _separate(axes, groups, name_size)
    set_title(axes, title)
    return figure


def _number(value: float) -> str:
    """Return `.914`, rounded; 1 only where nothing is left to it."""
    return f"{min(value, 0.999):.3f}".removeprefix("0") if value < 1 else "1"


def _shown(name: str, inches: float, size: float) -> str:
    return shorten(name, inches, size).replace("$", "\\$")  # two dollar signs would be a formula


def _separate(axes: Axes, groups: Sequence[str], size: float) -> None:
    starts = [row for row in range(len(groups)) if row == 0 or groups[row] != groups[row - 1]]
    for start, end in zip(starts, [*starts[1:], len(groups)], strict=True):
        if start:
            axes.axhline(start - 0.5, color="black", linewidth=1.2)
        axes.text(
            1.01,
            (start + end - 1) / 2,
            groups[start],
            transform=axes.get_yaxis_transform(),
            rotation=270,
            ha="left",
            va="center",
            fontsize=size,
        )

"""Histograms of latents beside the normal distribution that they have under the model."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from glow_pipeline.plots.axes import LEGEND, set_figure_title
from glow_pipeline.plots.style import BLUE, RED, legible, new_figure, style

WIDTH, PANEL_HEIGHT = 7.0, 2.6  # inches
MOST_COLUMNS = 3
HEADROOM, FLOOR = 3.0, 0.3  # factors on the highest density, and on that of one element in a bin


class LatentPanel(NamedTuple):
    """Elements of one level's standardised latent.

    Attributes:
        name: of the level.
        edges, counts: of the bins, (n + 1,) and (n,).
        beyond: number of elements below and above the bins.
        not_finite: number of elements that are infinite or NaN.
        mean, sd, kurtosis: of the finite elements.
    """

    name: str
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    beyond: int
    not_finite: int
    mean: float
    sd: float
    kurtosis: float


def latent_histograms(panels: Sequence[LatentPanel], title: str) -> Figure:
    """Draw the density of each level's latents, logarithmic, over that of N(0, 1).

    On a logarithmic axis the normal density is a parabola. Tails, which a linear axis hides, are above it.

    Args:
        panels: one a level, finest first.
        title: names the images.
    """
    n_columns = min(MOST_COLUMNS, len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    figure = new_figure(WIDTH, PANEL_HEIGHT * n_rows + 0.9)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    for spare in axes[len(panels) :]:
        spare.remove()
    style(*axes[: len(panels)])
    for panel, each in zip(axes, panels, strict=False):
        _draw(panel, each)
    for panel in axes[: len(panels)]:
        panel.tick_params(labelbottom=True)
        panel.set_xlabel("standard deviations")
    for panel in axes[: len(panels) : n_columns]:
        panel.set_ylabel("density")
    axes[0].set_yscale("log")
    axes[0].set_ylim(*_density_limits(panels))
    set_figure_title(figure, title)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=legible(WIDTH, LEGEND))
    return figure


def _draw(axes: Axes, panel: LatentPanel) -> None:
    size = legible(WIDTH, LEGEND)
    n = panel.counts.sum() + panel.beyond
    density = panel.counts / (max(n, 1) * np.diff(panel.edges))
    axes.stairs(density, panel.edges, fill=True, color=BLUE, alpha=0.75, label="latents of test images")
    axes.plot(panel.edges, _normal(panel.edges), color=RED, linewidth=1.6, label="N(0, 1), the model's own")
    moments = f"mean {_number(panel.mean, 3)}, sd {_number(panel.sd, 3)}", f"kurtosis {_number(panel.kurtosis, 2)}"
    lines = [panel.name, *moments]
    if panel.beyond:
        lines.append(f"{panel.beyond:,} beyond the axis")
    if panel.not_finite:
        lines.append(f"{panel.not_finite:,} not finite")
    axes.set_title("\n".join(lines), fontsize=size)


def _number(value: float, decimals: int) -> str:
    """Return a number with so many decimals; `1.2e+21` from a thousand on, which would not fit."""
    return f"{value:.{decimals}f}" if abs(value) < 1000 else f"{value:.3g}"


def _density_limits(panels: Sequence[LatentPanel]) -> tuple[float, float]:
    """Return the ends of the axis: from a part of the density of one element in a bin to above all bars."""
    lowest, highest = math.inf, float(_normal(np.zeros(1))[0])
    for panel in panels:
        n = int(panel.counts.sum()) + panel.beyond
        if n:
            density = panel.counts / (n * np.diff(panel.edges))
            highest = max(highest, float(density.max()))
            lowest = min(lowest, float(1 / (n * np.diff(panel.edges).max())))
    return FLOOR * min(lowest, 1e-3), HEADROOM * highest


def _normal(x: NDArray[np.float64]) -> NDArray[np.float64]:
    density: NDArray[np.float64] = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return density

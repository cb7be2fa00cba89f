"""ROC curves."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from glow_pipeline.plots.axes import LEGEND, set_title, single_axes
from glow_pipeline.plots.style import GREY, colours_and_lines, legible

SEVERAL, ONE, HEIGHT = 8.0, 4.5, 4.5  # inches: width with a legend beside the axes and without, height
LEGEND_LINE = 0.2  # inches
POINTS = 2000  # of a curve at most: more are nearer to one another than a pixel


def roc_figure(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str) -> Figure:
    """Draw the share of outliers found against the share of in-distribution images flagged, for each score.

    Args:
        curves: label -> false and true positive rates of all thresholds, each (n_thresholds,); in the order of the
            legend, which has its place beside the axes where there are several.
        title: names the two sets.
    """
    several = len(curves) > 1
    width = SEVERAL if several else ONE
    figure, axes = single_axes(width, max(HEIGHT, LEGEND_LINE * (len(curves) + 1) + 0.6))
    for (label, (fpr, tpr)), (colour, line) in zip(curves.items(), colours_and_lines(), strict=False):
        axes.plot(*_thinned(np.asarray(fpr), np.asarray(tpr)), label=label, color=colour, linestyle=line)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="-.", linewidth=1, label="chance")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    set_title(axes, title)
    size = legible(width, LEGEND)
    if several:
        figure.legend(loc="outside right center", fontsize=size)
    else:
        axes.legend(loc="lower right", fontsize=size)
    return figure


def _thinned(fpr: NDArray[np.floating], tpr: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return at most `POINTS` points of a curve, evenly spread over its length, with the first and the last."""
    if len(fpr) <= POINTS:
        return fpr, tpr
    along = fpr + tpr  # rises from 0 to 2, since both do
    chosen = np.unique(np.searchsorted(along, np.linspace(0, along[-1], POINTS)))
    return fpr[chosen], tpr[chosen]

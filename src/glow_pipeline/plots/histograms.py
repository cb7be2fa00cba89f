"""Distributions of scores."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from glow_pipeline.plots.axes import LEGEND, name_of, set_title

Scores = Mapping[str, NDArray[np.floating]]  # name of a set -> scores (n,)


def score_histograms(panels: Mapping[str, Scores], title: str) -> Figure:
    """Draw the distributions of each score in a panel, one above another.

    In a panel the sets lie over one another, each with area 1. The far tail beyond the 99.5th percentile of all is
    gathered in the last bin, so that a handful of extreme images does not press everything else into one column. So
    are scores that are not finite (-infinity in the first bin); the legend has their number.

    Args:
        panels: label of a score -> its values on each set.
        title: above the first panel.
    """
    figure = Figure(figsize=(6, 4 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for panel, (xlabel, scores) in zip(axes, panels.items(), strict=True):
        _draw(panel, scores)
        panel.set(xlabel=xlabel, ylabel="density")
    set_title(axes[0], title)
    for panel in axes:
        panel.legend(fontsize=LEGEND)
    return figure


def _draw(axes: Axes, scores: Scores) -> None:
    bins = _bins(np.concatenate(list(scores.values())))
    for name, values in scores.items():
        not_finite = len(values) - int(np.isfinite(values).sum())
        note = f"{len(values)}, {not_finite} not finite" if not_finite else f"{len(values)}"
        axes.hist(
            np.clip(np.where(np.isnan(values), np.inf, values), bins[0], bins[-1]),
            bins=bins.tolist(),
            density=True,
            alpha=0.6,
            label=name_of(axes, name, note),
        )


def _bins(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the edges of 60 bins over the finite values."""
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), np.quantile(finite, 0.995)) if len(finite) else (0.0, 1.0)
    # One number alone needs room to both sides: of a large one `low + 1` would be `low` in floating point.
    return np.linspace(low, high if high > low else low + max(1.0, abs(low) / 1000), 61)

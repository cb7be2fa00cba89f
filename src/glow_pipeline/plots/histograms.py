"""Distributions of scores."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from glow_pipeline.plots.axes import LEGEND, name_of, set_title, single_axes


def score_histogram(scores: dict[str, NDArray[np.floating]], xlabel: str, title: str) -> Figure:
    """Draw the scores of several sets over one another, each with area 1.

    The far tail beyond the 99.5th percentile of all is gathered in the last bin, so that a handful of
    extreme images does not press everything else into one column. So are scores that are not finite
    (-infinity in the first bin); the legend has their number.

    Args:
        scores: set name -> scores (n,).
    """
    together = np.concatenate(list(scores.values()))
    finite = together[np.isfinite(together)]
    low, high = (finite.min(), np.quantile(finite, 0.995)) if len(finite) else (0.0, 1.0)
    # One number alone needs room to both sides: of a large one `low + 1` would be `low` in floating point.
    bins = np.linspace(low, high if high > low else low + max(1.0, abs(low) / 1000), 61)
    figure, axes = single_axes(6, 4)
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
    axes.set(xlabel=xlabel, ylabel="density")
    set_title(axes, title)
    axes.legend(fontsize=LEGEND)
    return figure

"""Distributions of scores."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def score_histogram(scores: dict[str, NDArray[np.floating]], xlabel: str, title: str) -> Figure:
    """Scores of several sets over one another, each with area 1.

    The far tail beyond the 99.5th percentile of all is gathered in the last bin, so that a handful of
    extreme images does not press everything else into one column.

    Args:
        scores: set name -> scores (n,).
    """
    together = np.concatenate(list(scores.values()))
    finite = together[np.isfinite(together)]
    low, high = (finite.min(), np.quantile(finite, 0.995)) if len(finite) else (0.0, 1.0)
    bins = np.linspace(low, high if high > low else low + 1, 61)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in scores.items():
        axes.hist(
            np.clip(values, bins[0], bins[-1]),
            bins=bins.tolist(),
            density=True,
            alpha=0.6,
            label=f"{name} ({len(values)})",
        )
    axes.set(xlabel=xlabel, ylabel="density", title=title)
    axes.legend()
    return figure

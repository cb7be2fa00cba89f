"""Curves of a training, and of a detector."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from glow_pipeline.plots.axes import LEGEND, set_title, single_axes


def training_curves(epochs: Sequence[dict[str, float]], title: str, *, given_class: bool = False) -> Figure:
    """Draw bits per dimension on training and validation images after each epoch.

    Args:
        epochs: rows with epoch, train_bits_per_dim and val_bits_per_dim.
        given_class: whether these are of images given their class.
    """
    figure, axes = single_axes(6, 4)
    epoch = [row["epoch"] for row in epochs]
    for split in ("train", "val"):
        values = [row[f"{split}_bits_per_dim"] for row in epochs]
        gaps = len(values) - sum(map(math.isfinite, values))
        label = f"{split} ({gaps} epochs not finite)" if gaps else split
        axes.plot(epoch, values, label=label, marker="." if len(epoch) < 20 else "")
    finite = [row for row in epochs if math.isfinite(row["val_bits_per_dim"])]
    if finite:
        best = min(finite, key=lambda row: row["val_bits_per_dim"])
        axes.axvline(best["epoch"], color="grey", linestyle=":", label=f"best: epoch {best['epoch']:.0f}")
    axes.set(xlabel="epoch", ylabel=f"bits per dimension{' given the class' * given_class}")
    set_title(axes, title)
    axes.legend()
    return figure


def roc_figure(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str) -> Figure:
    """Draw the share of outliers found against the share of in-distribution images flagged, for each score.

    Args:
        curves: label -> false and true positive rates of all thresholds, each (n_thresholds,); in the order of the
            legend, which has its place beside the axes where there are several.
        title: names the two sets.
    """
    several = len(curves) > 1
    figure, axes = single_axes(8.0 if several else 4.5, 4.5)
    colours = colormaps["tab20" if len(curves) > 10 else "tab10"].colors  # type: ignore[attr-defined]
    for (label, (fpr, tpr)), (i, colour) in zip(curves.items(), enumerate(cycle(colours)), strict=False):
        axes.plot(np.asarray(fpr), np.asarray(tpr), label=label, color=colour, linestyle="--" if i >= 20 else "-")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="chance")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    set_title(axes, title)
    if several:
        figure.legend(loc="outside right center", fontsize=LEGEND)
    else:
        axes.legend(loc="lower right")
    return figure

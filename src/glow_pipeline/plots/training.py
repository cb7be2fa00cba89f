"""Curves of a training."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from glow_pipeline.counting import counted
from glow_pipeline.plots.axes import LEGEND, set_figure_title
from glow_pipeline.plots.style import BLUE, GREY, ORANGE, RED, legible, new_figure, style

WIDTH, HEIGHT = 7.0, 5.6  # inches
FEW = 20  # epochs up to which each is a marker
MOST = 0.9  # the axis of bits per dimension holds at least this share of all values
DECADES_WITH_PARTS = 1e3  # range up to which an axis of logarithms has ticks within its decades
REACH, MUCH = 1.5, 1.5  # it ends this many of their ranges above the lowest, if all values take this many times that

Row = dict[str, float]
Values = NDArray[np.float64]


def training_curves(
    epochs: Sequence[Row], title: str, *, given_class: bool = False, epoch_images: int | None = None
) -> Figure:
    """Draw bits per dimension, learning rate, gradient norms and speed after each epoch.

    The first epochs, and later failures, may have many times the bits of all others. The axis of the bits then ends
    1.5 times the range of the lower 90% of all values above the lowest, and a line above it says how many are beyond.

    Args:
        epochs: rows with epoch, train_bits_per_dim and val_bits_per_dim, and where they are known with lr, grad_norm,
            largest_grad_norm and images_per_second; values may be NaN or infinite.
        title: above all panels.
        given_class: whether the bits are of images given their class.
        epoch_images: images of an epoch, where it is no pass over all.
    """
    figure = new_figure(WIDTH, HEIGHT)
    panels = figure.subplot_mosaic(
        [["bits", "bits", "bits"], ["lr", "gradient", "speed"]], height_ratios=[1.7, 1], sharex=True
    )
    style(*panels.values())
    _draw_bits(panels["bits"], epochs, given_class)
    _draw(panels["lr"], epochs, {"lr": "learning rate"}, "learning rate")
    panels["lr"].set_ylim(bottom=0)
    _draw(panels["gradient"], epochs, {"grad_norm": "mean", "largest_grad_norm": "largest"}, "gradient norm")
    if _any_positive(epochs, ("grad_norm", "largest_grad_norm")):
        _use_logarithms(panels["gradient"])
    panels["gradient"].legend(fontsize=legible(WIDTH, LEGEND))
    _draw(panels["speed"], epochs, {"images_per_second": "images/s"}, "images per second")
    panels["speed"].set_ylim(bottom=0)
    panels["bits"].ticklabel_format(axis="y", useOffset=False)  # values that hardly differ are numbers as they are
    panels["lr"].yaxis.set_major_locator(MaxNLocator(nbins=4))
    panels["lr"].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for panel in panels.values():
        bins = 10 if panel is panels["bits"] else 4
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=bins))
        if len(epochs) == 1:
            panel.set_xlim(epochs[0]["epoch"] - 0.5, epochs[0]["epoch"] + 0.5)
    for name in ("bits", "lr", "gradient", "speed"):
        panels[name].tick_params(labelbottom=True)
        panels[name].set_xlabel("epoch")
    if epoch_images is not None:
        panels["bits"].set_xlabel(f"epoch of {epoch_images:,} images")
    set_figure_title(figure, title)
    return figure


def _draw_bits(axes: Axes, epochs: Sequence[Row], given_class: bool) -> None:
    size = legible(WIDTH, LEGEND)
    drawn = {}
    for split, colour in (("train", BLUE), ("val", ORANGE)):
        values = _column(epochs, f"{split}_bits_per_dim")
        gaps = int((~np.isfinite(values)).sum())
        label = f"{split} ({counted(gaps, 'epoch')} not finite)" if gaps else split
        _line(axes, epochs, values, label, colour)
        drawn[split] = values
    finite = [row for row in epochs if math.isfinite(row["val_bits_per_dim"])]
    if finite:
        best = min(finite, key=lambda row: row["val_bits_per_dim"])
        label = f"best: epoch {best['epoch']:.0f}, {best['val_bits_per_dim']:.3f}"
        axes.axvline(best["epoch"], color=GREY, linestyle=":", label=label)
        axes.plot(best["epoch"], best["val_bits_per_dim"], "o", color=RED, markersize=5, zorder=3)
    axes.set_ylabel(f"bits per dimension{' given the class' * given_class}")
    _limit(axes, np.concatenate([*drawn.values()]), size)
    axes.legend(fontsize=size)


def _limit(axes: Axes, values: Values, size: float) -> None:
    """End the axis where most values do, and say above it what is beyond; infinite ones are counted as gaps."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return
    low, most, highest = finite.min(), np.quantile(finite, MOST), finite.max()
    top = low + REACH * (most - low)
    if most <= low or highest - low <= MUCH * (top - low):
        return
    axes.set_ylim(low - 0.05 * (top - low), top)
    beyond = int((finite > top).sum())
    note = f"{counted(beyond, 'value')} above the axis, up to {highest:.4g}"
    axes.set_title(note, loc="right", fontsize=size)


def _draw(axes: Axes, epochs: Sequence[Row], names: dict[str, str], title: str) -> None:
    for (column, label), colour in zip(names.items(), (BLUE, ORANGE), strict=False):
        _line(axes, epochs, _column(epochs, column), label, colour)
    axes.set_title(title, fontsize=legible(WIDTH, LEGEND))


def _line(axes: Axes, epochs: Sequence[Row], values: Values, label: str, colour: str) -> None:
    """Draw a value of each epoch; without a marker one between two that are not finite would be invisible."""
    alone = len(epochs) >= FEW and bool((~np.isfinite(values)).any())
    marker = "." if len(epochs) < FEW or alone else ""
    shown = np.where(np.isfinite(values), values, np.nan)
    axes.plot([row["epoch"] for row in epochs], shown, label=label, color=colour, marker=marker)


def _column(epochs: Sequence[Row], name: str) -> Values:
    """Return a value of each epoch, NaN where it is not known."""
    return np.array([row.get(name, math.nan) for row in epochs], dtype=np.float64)


def _use_logarithms(axes: Axes) -> None:
    """Give the y axis a logarithmic scale, with numbers as they are read: 0.5, 20, 1e+06."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    subs = (1, 2, 5) if high < DECADES_WITH_PARTS * low else (1,)  # over more, matplotlib would draw no tick
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _any_positive(epochs: Sequence[Row], names: Sequence[str]) -> bool:
    values = np.concatenate([_column(epochs, name) for name in names])
    return bool((values[np.isfinite(values)] > 0).any())

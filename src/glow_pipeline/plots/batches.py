"""Figure of the batches that a detector has judged."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from glow_pipeline.plots.axes import LEGEND, set_title
from glow_pipeline.plots.style import BLUE, GREY, ORANGE, RED, new_figure, style

WIDTH, HEIGHT = 7.0, 6.0  # inches
MOST_LABELS = 6  # batches with their number and date below the axis
FEW = 25  # batches up to which each is a marker
ROOM = 1.7  # height of the upper axes, relative to the highest point: for the legend
PASTEL = "0.85"


class BatchPoint(NamedTuple):
    """The figures of one batch.

    Attributes:
        share, low, high: share of its images that were flagged, and its interval; NaN: no image.
        expected_low, expected_high: interval of that share if nothing has changed; NaN: no image.
        rate: `score.false_alarm_rate`.
        log10_martingale, log10_highest: at its end, and the highest until then.
    """

    number: int
    date: datetime
    share: float
    low: float
    high: float
    expected_low: float
    expected_high: float
    rate: float
    log10_martingale: float
    log10_highest: float


def batches_figure(points: Sequence[BatchPoint], drift_rate: float, title: str) -> Figure:
    """Draw the share of flagged images of each batch, and below it the martingale with the level of its alarm.

    Args:
        points: one a batch, in their order; at least one.
        drift_rate: the alarm is at 1 / drift_rate.
    """
    figure = new_figure(WIDTH, HEIGHT)
    upper, lower = figure.subplots(2, 1, sharex=True)
    style(upper, lower)
    _draw_shares(upper, points)
    _draw_martingale(lower, points, drift_rate)
    set_title(upper, title)
    _label_batches(lower, points)
    return figure


def _draw_shares(axes: Axes, points: Sequence[BatchPoint]) -> None:
    x = np.array([point.number for point in points])
    share, low, high = (np.array([getattr(point, name) for point in points]) for name in ("share", "low", "high"))
    edges = np.append(x - 0.5, x[-1] + 0.5)
    expected = [np.array([getattr(point, f"expected_{side}") for point in points]) for side in ("low", "high")]
    axes.stairs(expected[1], edges, baseline=expected[0], fill=True, color=PASTEL, label="expected without a change")
    axes.stairs([point.rate for point in points], edges, baseline=None, color=GREY, label="false-alarm rate")
    axes.errorbar(
        x,
        share,
        [share - low, high - share],
        fmt="o",
        color=BLUE,
        markersize=4,
        capsize=2,
        label="flagged, with 95% interval",
    )
    axes.set_ylim(0, min(ROOM * float(np.nanmax([0.01, *high, *expected[1], points[-1].rate])), 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("share of images flagged")
    axes.legend(fontsize=LEGEND)


def _draw_martingale(axes: Axes, points: Sequence[BatchPoint], drift_rate: float) -> None:
    x = [points[0].number - 0.5, *(point.number for point in points)]
    alarm = -math.log10(drift_rate)
    marker = "o" if len(points) <= FEW else ""
    axes.plot(
        x,
        [0.0, *(point.log10_martingale for point in points)],
        marker=marker,
        markersize=4,
        color=ORANGE,
        label="martingale",
    )
    axes.plot(
        x,
        [0.0, *(point.log10_highest for point in points)],
        linestyle=":",
        color=GREY,
        label="highest so far",
    )
    axes.axhline(alarm, color=RED, linestyle="--", label=f"alarm at {1 / drift_rate:g}")
    since = next((point.number for point in points if point.log10_highest >= alarm), None)
    if since is not None:
        axes.axvline(since, color=RED, linestyle=":", label=f"drift since batch {since}")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda power, _: f"$10^{{{power:.0f}}}$"))
    axes.set_ylabel("martingale")
    axes.legend(fontsize=LEGEND)


def _label_batches(axes: Axes, points: Sequence[BatchPoint]) -> None:
    """Write number and date below some of the batches; the time where all are of one day."""
    every = math.ceil(len(points) / MOST_LABELS)
    shown = points[:: every or 1]
    one_day = len(points) > 1 and len({point.date.date() for point in points}) == 1
    form = "%H:%M" if one_day else "%Y-%m-%d"
    labels = [f"{point.number}\n{point.date.strftime(form)}" for point in shown]
    axes.set_xticks([point.number for point in shown], labels, fontsize=LEGEND)
    axes.set_xlim(points[0].number - 0.6, points[-1].number + 0.6)
    axes.set_xlabel(f"batch ({points[0].date.strftime('%Y-%m-%d')})" if one_day else "batch")

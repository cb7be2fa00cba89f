"""Distributions of scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from glow_pipeline.plots.axes import LEGEND, name_of, set_figure_title, set_title, single_axes
from glow_pipeline.plots.style import legible, new_figure, style
from glow_pipeline.plots.text import wrap

BINS = 60
NEAR = 0.25  # an axis extends this many ranges of all values beyond their quantiles
FAR = 5.0  # an axis extends this many ranges of the first set to both sides of it
WIDTH, PANEL_HEIGHT = 7.0, 2.5  # inches: of a figure of several panels
FEW = 4  # so many panels are in two columns, more in three
DOTS = 3000  # of a set in a scatter plot: more would cover each other


@dataclass(frozen=True)
class Counted:
    """Values and how often each occurs, for more images than fit in memory.

    Attributes:
        values: (k,).
        counts: (k,).
    """

    values: NDArray[np.floating]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.counts.sum())


Values = NDArray[np.floating] | Counted
Scores = Mapping[str, Values]  # name of a set -> scores (n,)
Dots = tuple[NDArray[np.floating], NDArray[np.floating]]  # x and y, each (n,)


@dataclass(frozen=True)
class Joint:
    """Two scores of the same images, for a scatter plot.

    Attributes:
        x_label, x, y_label, y: their labels and, for each set, their values.
        dots: for each set both scores of the images to draw; None: of some of all images.
    """

    x_label: str
    x: Scores
    y_label: str
    y: Scores
    dots: Mapping[str, Dots] | None = None


def score_histograms(panels: Mapping[str, Scores], title: str, joint: Joint | None = None) -> Figure:
    """Draw the distributions of each score in a panel, the sets over one another, each with area 1.

    A handful of extreme images, or outliers that score a million times as high, shall not press everything else into
    one column. So an axis ends a quarter of the range from the 0.5th to the 99.5th percentile of all finite values
    beyond that range, and 5 times the range from the 1st to the 99th percentile of the first set beyond that one,
    whichever is nearer. Values beyond are gathered in the first and last bin; so are -infinity, and infinity and NaN.
    The axis says how many.

    Args:
        panels: label of a score -> its values on each set, the in-distribution images first.
        title: above the first panel.
        joint: is drawn in a panel of its own after them.
    """
    n_panels = len(panels) + (joint is not None)
    if n_panels == 1:
        return _single(*next(iter(panels.items())), title)
    n_columns = 2 if n_panels <= FEW else 3
    n_rows = math.ceil(n_panels / n_columns)
    figure = new_figure(WIDTH, PANEL_HEIGHT * n_rows + 0.8)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for panel in axes[n_panels:]:
        panel.remove()
    style(*axes[:n_panels])
    size, inches = legible(WIDTH), WIDTH / n_columns - 0.5
    for panel, (label, scores) in zip(axes, panels.items(), strict=False):
        _draw(panel, scores)
        label_x(panel, label, scores, inches, size)
    if joint is not None:
        _scatter(axes[n_panels - 1], joint, inches, size)
    set_figure_title(figure, title)
    handles, _ = axes[0].get_legend_handles_labels()
    names = [name_of(axes[0], name, str(len(values))) for name, values in next(iter(panels.values())).items()]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=legible(WIDTH, LEGEND))
    return figure


def _single(label: str, scores: Scores, title: str) -> Figure:
    figure, axes = single_axes(6, 4)
    _draw(axes, scores)
    label_x(axes, label, scores, 5.0, 10)
    axes.set_ylabel("density")
    set_title(axes, title)
    axes.legend(fontsize=LEGEND)
    return figure


def _draw(axes: Axes, scores: Scores) -> None:
    bins = np.linspace(*limits(scores), BINS + 1)
    for name, drawn in scores.items():
        values, counts = _counted(drawn)
        not_finite = len(drawn) - _number(np.isfinite(values), counts)
        note = f"{len(drawn)}, {not_finite} not finite" if not_finite else f"{len(drawn)}"
        axes.hist(
            np.clip(np.where(np.isnan(values), np.inf, values), bins[0], bins[-1]),
            bins=bins.tolist(),
            weights=counts,
            density=True,
            alpha=0.6,
            label=name_of(axes, name, note),
        )


def _scatter(axes: Axes, joint: Joint, inches: float, size: float) -> None:
    """Draw two scores against each other; values beyond the axes are drawn on their edge."""
    x_limits, y_limits = limits(joint.x), limits(joint.y)
    for name in joint.x:
        drawn = (_counted(side[name])[0] for side in (joint.x, joint.y)) if joint.dots is None else joint.dots[name]
        x, y = (
            np.clip(np.where(np.isnan(values), np.inf, values)[:: math.ceil(len(values) / DOTS)], *ends)
            for values, ends in zip(drawn, (x_limits, y_limits), strict=True)
        )
        axes.scatter(x, y, s=3, alpha=0.4, linewidths=0, rasterized=True)
    label_x(axes, joint.x_label, joint.x, inches, size)
    axes.set_ylabel(wrap(joint.y_label, PANEL_HEIGHT - 0.5, size), fontsize=size, parse_math=False)


def label_x(axes: Axes, label: str, scores: Scores, inches: float, size: float) -> None:
    """Label an axis with a score and with how many values are beyond its ends."""
    low, high = limits(scores)
    sets = {name: _counted(drawn) for name, drawn in scores.items()}
    beyond = {name: _number(~((values >= low) & (values <= high)), counts) for name, (values, counts) in sets.items()}
    lines = [wrap(label, inches, size)]
    if any(beyond.values()):
        numbers = " + ".join(map(str, beyond.values()))
        lines.append(wrap(f"({numbers} beyond the ends)", inches, size))
    axes.set_xlabel("\n".join(lines), fontsize=size, parse_math=False)


def limits(scores: Scores) -> tuple[float, float]:
    """Return the ends of an axis for these scores, `low < high` (`score_histograms`)."""
    finite = [_finite(*_counted(drawn)) for drawn in scores.values()]
    together = np.concatenate([values for values, _ in finite])
    if not len(together):
        return 0.0, 1.0
    low, high = _quantiles(finite, [0.005, 0.995])
    slack = NEAR * (high - low)
    low, high = max(low - slack, together.min()), min(high + slack, together.max())
    if len(finite[0][0]):
        first_low, first_high = _quantiles(finite[:1], [0.01, 0.99])
        reach = FAR * (first_high - first_low)
        if 0 < reach < np.inf:
            low, high = max(low, first_low - reach), min(high, first_high + reach)
    # One number alone needs room to both sides: of a large one `low + 1` would be `low` in floating point.
    return float(low), float(high if high > low else low + max(1.0, abs(low) / 1000))


def _counted(drawn: Values) -> tuple[NDArray[np.floating], NDArray[np.int64] | None]:
    """Return values and how often each occurs; None: each once."""
    if not isinstance(drawn, Counted):
        return drawn, None
    some = drawn.counts > 0
    return drawn.values[some], drawn.counts[some]


def _number(which: NDArray[np.bool_], counts: NDArray[np.int64] | None) -> int:
    return int(which.sum() if counts is None else counts[which].sum())


def _finite(
    values: NDArray[np.floating], counts: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    finite = np.isfinite(values)
    return values[finite].astype(np.float64), None if counts is None else counts[finite]


def _quantiles(
    sets: Sequence[tuple[NDArray[np.float64], NDArray[np.int64] | None]], at: Sequence[float]
) -> NDArray[np.float64]:
    """Return quantiles of the values of all sets together."""
    values = np.concatenate([values for values, _ in sets])
    if all(counts is None for _, counts in sets):
        return np.quantile(values, at)
    weights = np.concatenate([np.ones(len(values)) if counts is None else counts for values, counts in sets])
    return np.quantile(values, at, weights=weights, method="inverted_cdf")

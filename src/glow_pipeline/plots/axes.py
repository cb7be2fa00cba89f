"""Common parts of figures with one pair of axes."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glow_pipeline.plots.text import shorten, wrap

TITLE, LEGEND = 11, 9  # points
# Inches of a figure's width beside a title centred over axes, whose own centre is right of the figure's.
MARGIN = 1.2


def single_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of this size in inches, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def set_title(axes: Axes, title: str) -> None:
    """Set a title that stays within the figure, in several lines and with shortened names where it is long."""
    axes.set_title(wrap(title, _width(axes) - MARGIN, TITLE), fontsize=TITLE, parse_math=False)


def name_of(axes: Axes, name: str, note: str) -> str:
    """Return `name (note)` for a legend, the name shortened so that it stays within the axes."""
    short = shorten(name, 0.5 * (_width(axes) - MARGIN), LEGEND)
    return f"{short.replace('$', chr(92) + '$')} ({note})"  # two dollar signs would be a formula


def _width(axes: Axes) -> float:
    figure = axes.get_figure(root=True)
    assert figure is not None, "these axes are of a figure"
    return float(figure.get_figwidth())

"""Common parts of figures with axes: their size, titles and names in legends."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glow_pipeline.plots.style import LABEL, TITLE, legible, new_figure, style
from glow_pipeline.plots.text import shorten, wrap

LEGEND = LABEL  # points, in figures of up to 7 inches
# Inches of a figure's width beside a title centred over axes, whose own centre is right of the figure's.
MARGIN = 1.2


def single_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of this size in inches, and its axes in the style of all figures."""
    figure = new_figure(width, height)
    axes = figure.subplots()
    style(axes)
    return figure, axes


def set_title(axes: Axes, title: str) -> None:
    """Set a title that stays within the figure, in several lines and with shortened names where it is long."""
    size = legible(_width(axes), TITLE)
    axes.set_title(wrap(title, _width(axes) - MARGIN, size), fontsize=size, parse_math=False)


def set_figure_title(figure: Figure, title: str) -> None:
    """Set the title of several panels; it stays within the figure as that of `set_title` does."""
    width = float(figure.get_figwidth())
    size = legible(width, TITLE)
    figure.suptitle(wrap(title, width - MARGIN, size), fontsize=size, parse_math=False)


def name_of(axes: Axes, name: str, note: str) -> str:
    """Return `name (note)` for a legend, the name shortened so that it stays within the axes."""
    short = shorten(name, 0.5 * (_width(axes) - MARGIN), legible(_width(axes), LEGEND))
    return f"{short.replace('$', chr(92) + '$')} ({note})"  # two dollar signs would be a formula


def _width(axes: Axes) -> float:
    figure = axes.get_figure(root=True)
    assert figure is not None, "these axes are of a figure"
    return float(figure.get_figwidth())

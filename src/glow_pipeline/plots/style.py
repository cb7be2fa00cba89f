"""The style of all figures: colours, sizes of texts, axes.

matplotlib's own way to set a style is global, and a training draws in a second thread. So each figure is styled alone.

The colours are the ten of Petroff 2021 (arXiv:2107.02270): chosen so that any two differ for people without red, green
or blue cones, and in lightness for printers without colour. Okabe and Ito's, the other well-known set, are seven and
black, of which yellow is faint on white.
"""

from collections.abc import Iterator
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# `matplotlib.color_sequences["petroff10"]`, which matplotlib has since 3.10.
COLOURS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
BLUE, ORANGE, RED, PALE_GREY, PURPLE = COLOURS[:5]
GREY = COLOURS[8]
LINE_STYLES = ("-", "--", ":")

DPI = 120  # pixels an inch at which pictures are stored
TITLE, LABEL = 11.0, 9.5  # points: titles; names of axes, numbers along them, legends
# MLflow's gallery shows a picture 500 pixels wide, and the page has 96 pixels an inch. Texts are legible there from 7
# points on: in a figure as wide as this many inches they are so if they have one point times its width here.
SHOWN_INCHES, LEAST_SHOWN = 500 / 96, 7.0


def legible(width: float, points: float = LABEL) -> float:
    """Return the size of a text in points: this one, or a larger one that is legible where MLflow shows the figure.

    Args:
        width: of the figure in inches.
        points: size in a small figure.
    """
    return max(points, LEAST_SHOWN * width / SHOWN_INCHES)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches whose axes will be arranged automatically."""
    return Figure(figsize=(width, height), layout="constrained")


def style(*panels: Axes, grid: bool = True) -> None:
    """Give axes the colours, texts, lines and grid of all figures; to be called before anything is drawn on them."""
    for axes in panels:
        size = legible(_width(axes))
        axes.set_prop_cycle(color=COLOURS)
        axes.tick_params(labelsize=size)
        axes.xaxis.label.set_fontsize(size)
        axes.yaxis.label.set_fontsize(size)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        if grid:
            axes.grid(color="0.9", linewidth=0.7)


def colours_and_lines() -> Iterator[tuple[str, str]]:
    """Yield colours and line styles: each colour with a solid line, then with dashes, then with dots, then again."""
    yield from cycle((colour, line) for line in LINE_STYLES for colour in COLOURS)


def _width(axes: Axes) -> float:
    figure = axes.get_figure(root=True)
    assert figure is not None, "these axes are of a figure"
    return float(figure.get_figwidth())

"""The heat map: every number stands in its cell, within the figure, and readable on its colour."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from glow_pipeline.plots.heat_map import heat_map


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_cells_have_numbers_and_gaps_none() -> None:
    values = np.array([[0.9996, 1.0, np.nan], [0.5, 0.0, 0.0506]])
    figure = heat_map(values, ["one", "two"], ["a", "b", "c"], "title")
    assert texts(figure) == [".999", "1", ".500", ".000", ".051"]
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]


def test_groups_are_named_and_separated_once() -> None:
    figure = heat_map(np.full((4, 2), 0.5), list("abcd"), ["s", "t"], "title", groups=["near", "near", "far", "far"])
    assert texts(figure)[-2:] == ["near", "far"]
    (line,) = figure.axes[0].lines
    assert np.asarray(line.get_ydata()).tolist() == [1.5, 1.5]


def test_numbers_do_not_touch_and_names_stay_inside() -> None:
    rows, columns = [f"pneumoniamnist_class_{i}" for i in range(20)], [f"likelihood_ratio_{i}" for i in range(13)]
    figure = heat_map(np.full((20, 13), 0.125), rows, columns, "AUROC of a long name of a dataset", groups=["far"] * 20)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    renderer = canvas.get_renderer()
    cell = axes.transData.transform([[0, 0], [1, 1]])
    width, height = abs(cell[1] - cell[0])
    for number in axes.texts[:-1]:
        box = number.get_window_extent(renderer)
        assert box.width < width
        assert box.height < height
    edge = figure.bbox
    for label in (*axes.get_yticklabels(), *axes.get_xticklabels(), axes.title, axes.texts[-1]):
        box = label.get_window_extent(renderer)
        assert edge.x0 <= box.x0 <= box.x1 <= edge.x1, label.get_text()
        assert edge.y0 <= box.y0 <= box.y1 <= edge.y1, label.get_text()


def test_white_numbers_stand_on_dark_cells() -> None:
    figure = heat_map(np.array([[0.01, 0.5, 0.99]]), ["one"], ["a", "b", "c"], "title")
    assert [text.get_color() for text in figure.axes[0].texts] == ["white", "black", "white"]

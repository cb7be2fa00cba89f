"""Whatever names are on a figure stays on it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from glow_pipeline.plots.curves import roc_figure
from glow_pipeline.plots.grids import labelled_grid, square_grid
from glow_pipeline.plots.histograms import score_histograms
from glow_pipeline.plots.text import shorten, width, wrap
from glow_pipeline.plots.training import training_curves
from glow_pipeline.plots.trials import search_history
from tests.conftest import random_images

LONG = "folder_a_name_of_forty_letters_and_digits_WWW_1_1f2e3d4c_class_0-2_4_6_8_10_12_14_16_18"
PAIR = f"{LONG} vs {LONG.replace('folder', 'other')}"
ROWS = [{"epoch": 1.0, "train_bits_per_dim": 3.0, "val_bits_per_dim": 2.0}]

FIGURES: dict[str, Callable[[str], Figure]] = {
    "training_curves": lambda name: training_curves(ROWS, f"Glow on {name}"),
    "roc": lambda name: roc_figure({"AUROC 0.5000": ([0, 1], [0, 1])}, f"{name} vs {name}"),
    "histogram": lambda name: score_histograms(
        {"bits": {name: np.array([1.0, np.inf]), f"other {name}": np.array([2.0])}}, f"{name} vs {name}"
    ),
    "search": lambda name: search_history(["complete", "diverged"], [1.0, np.inf], f"search on {name}"),
    "samples": lambda name: square_grid(random_images(16), f"Glow on {name}, temperature 0.7, class 3"),
    "one sample": lambda name: square_grid(random_images(1), f"Glow on {name}, temperature 0.7"),
    "wide sample": lambda name: square_grid(random_images(1, size=(8, 64)), f"Glow on {name}, temperature 0.7"),
    "classes": lambda name: labelled_grid(
        [random_images(2)] * 2, row_labels=[f"class {name}"] * 2, column_labels=[name] * 2, title=f"Glow on {name}"
    ),
    "vtemp": lambda name: labelled_grid(
        [random_images(9)],
        column_labels=["T 0.25"] * 9,
        title=f"Glow on {name}: the same latents at rising temperature (3 of 16 not finite from T 1.5 on, crossed out)",
    ),
}


def texts(figure: Figure) -> list[Text]:
    """All texts but those of ticks: matplotlib keeps some of these that are not drawn."""
    found = [*figure.texts]
    for axes in figure.axes:
        found += [axes.title, axes.xaxis.label, axes.yaxis.label]
        legend = axes.get_legend()
        found += [] if legend is None else legend.get_texts()
    return [text for text in found if text.get_text()]


@pytest.mark.parametrize("name", ["digits", LONG, "W" * 200, "a " * 120, "$broken_{ math$ \\frac"])
@pytest.mark.parametrize("kind", FIGURES)
def test_all_text_stays_within_the_figure(kind: str, name: str) -> None:
    figure = FIGURES[kind](name)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = figure.bbox
    for text in texts(figure):
        box = text.get_window_extent(canvas.get_renderer())
        assert page.x0 <= box.x0, text
        assert box.x1 <= page.x1, text
        assert page.y0 <= box.y0, text
        assert box.y1 <= page.y1, text


@pytest.mark.parametrize("kind", ["one sample", "samples", "vtemp", "classes"])
def test_title_of_several_lines_is_above_images(kind: str) -> None:
    figure = FIGURES[kind](LONG)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    *labels, title = figure.texts
    assert "\n" in title.get_text()
    bottom = title.get_window_extent(canvas.get_renderer()).y0
    assert all(label.get_window_extent(canvas.get_renderer()).y1 <= bottom for label in labels)
    assert figure.artists
    assert all(picture.get_window_extent(canvas.get_renderer()).y1 <= bottom for picture in figure.artists)


def test_short_names_are_unchanged() -> None:
    assert wrap("digits vs textures", 4.0, 11) == "digits vs textures"
    assert shorten("digits", 4.0, 11) == "digits"


def test_long_name_keeps_its_start_and_end() -> None:
    short = shorten(LONG, 2.0, 11)
    assert short.startswith("folder_a")
    assert short.endswith("_18")
    assert width(short, 11) <= 2.0


def test_both_names_of_a_pair_are_visible() -> None:
    lines = wrap(PAIR, 3.0, 11).split("\n")
    assert len(lines) <= 3
    assert any(line.startswith("folder_") for line in lines)
    assert any("other_" in line for line in lines)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80), st.floats(0.5, 5), st.integers(1, 3))
def test_lines_respect_width_and_number(text: str, inches: float, max_lines: int) -> None:
    lines = wrap(text, inches, 10, max_lines).split("\n")
    assert len(lines) <= max_lines
    assert all(width(line, 10) <= inches for line in lines)

"""One style: colours that differ for the colour-blind, and texts that are legible where MLflow shows a figure."""

from collections.abc import Callable
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from glow_pipeline.plots.batches import batches_figure
from glow_pipeline.plots.curves import roc_figure
from glow_pipeline.plots.filmstrip import filmstrip
from glow_pipeline.plots.heat_map import heat_map
from glow_pipeline.plots.histograms import Joint, score_histograms
from glow_pipeline.plots.latents import latent_histograms
from glow_pipeline.plots.levels import bits_by_level
from glow_pipeline.plots.ranked_images import RankedRow, ranked_images
from glow_pipeline.plots.style import COLOURS, LEAST_SHOWN, SHOWN_INCHES
from glow_pipeline.plots.training import training_curves
from glow_pipeline.plots.trials import search_history
from tests.conftest import random_images
from tests.plots.test_batches import points
from tests.plots.test_latents import panel
from tests.plots.test_levels import LEVELS
from tests.plots.test_training import rows

NAME = "a_dataset_whose_name_has_sixty_letters_which_is_a_long_one_x"
SCORES = {"digits": np.arange(9.0), NAME: np.arange(5.0)}
CLASSES = [f"class_{i}" for i in range(20)]

FIGURES: dict[str, Callable[[], Figure]] = {
    "training": lambda: training_curves(rows([90.0, *np.linspace(3, 2, 50).tolist()]), f"Glow on {NAME}"),
    "one epoch": lambda: training_curves(rows([3.0]), f"Glow on {NAME}"),
    "levels": lambda: bits_by_level(8.0, LEVELS, 4.75, f"Glow on {NAME}"),
    "many levels": lambda: bits_by_level(8.0, LEVELS * 3, 4.75, f"Glow on {NAME}"),
    "latents": lambda: latent_histograms([panel([1, 4, 3, 1], 123_456, 78_901)] * 5, f"Glow on {NAME}"),
    "filmstrip": lambda: filmstrip({100 * i: random_images(8, 3) for i in range(9)}, f"Glow on {NAME}"),
    "extremes": lambda: ranked_images(
        [RankedRow("most likely", list(random_images(8)), [["1.234 bits/dim", f"class {NAME}", f"{NAME}.png"]] * 8)]
        * 2,
        f"Glow on {NAME}",
    ),
    "roc": lambda: roc_figure({f"density_of_statistics_{i}": ([0, 1], [0, 1]) for i in range(15)}, NAME),
    "histograms": lambda: score_histograms(
        {f"sum of three densities' tails, nats {i}": SCORES for i in range(5)},
        f"digits vs {NAME}",
        Joint("negative log-likelihood, bits per dimension", SCORES, "compressed size, bits per dimension", SCORES),
    ),
    "histogram": lambda: score_histograms({"bits": SCORES}, f"digits vs {NAME}"),
    "batches": lambda: batches_figure(points(30), 0.01, NAME),
    "trials": lambda: search_history(["complete", "pruned"], [1.0, 2.0], NAME),
    "heat map": lambda: heat_map(np.full((20, 8), 0.125), CLASSES, CLASSES[:8], NAME, groups=["far"] * 20),
}


@pytest.mark.parametrize("kind", FIGURES)
def test_every_text_is_inside_and_legible(kind: str) -> None:
    figure = FIGURES[kind]()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page, renderer = figure.bbox, canvas.get_renderer()
    shown = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip() and text.get_visible()]
    on_ticks = {
        id(label)
        for axes in figure.axes
        for tick in (*axes.xaxis.get_major_ticks(), *axes.yaxis.get_major_ticks())
        for label in (tick.label1, tick.label2)
    }
    for text in shown:
        box = text.get_window_extent(renderer)
        assert float(text.get_fontsize()) * SHOWN_INCHES / figure.get_figwidth() >= LEAST_SHOWN - 0.01, text
        if id(text) not in on_ticks:  # matplotlib keeps some beyond the axes, which it does not draw
            assert page.x0 - 0.5 <= box.x0, text
            assert box.x1 <= page.x1 + 0.5, text


def test_colours_are_those_of_matplotlib() -> None:
    sequence = matplotlib.color_sequences.get("petroff10")
    if sequence is None:
        pytest.skip("matplotlib has this sequence since 3.10")
    assert [matplotlib.colors.to_hex(colour) for colour in sequence] == list(COLOURS)


# Viénot, Brettel & Mollon 1999: linear RGB as seen without red and without green cones.
DICHROMACY = {
    "protanopia": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "deuteranopia": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
}


@pytest.mark.parametrize("kind", DICHROMACY)
def test_first_five_colours_differ_for_the_colour_blind(kind: str) -> None:
    def seen(colour: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        linear = np.array(matplotlib.colors.to_rgb(colour)) ** 2.2
        return np.clip(np.array(DICHROMACY[kind]) @ linear, 0, 1) ** (1 / 2.2)

    for a, b in combinations(COLOURS[:5], 2):
        assert np.linalg.norm(seen(a) - seen(b)) > 0.15, (a, b)

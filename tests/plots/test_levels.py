from itertools import pairwise

import numpy as np
import pytest
from matplotlib.container import BarContainer
from matplotlib.patches import Rectangle

from glow_pipeline.plots.levels import LevelPart, bits_by_level

LEVELS = [LevelPart((2, 16, 16), -0.5, -3.5), LevelPart((16, 4, 4), 0.25, 0.5)]


def test_bars_are_the_parts_and_their_sum() -> None:
    (axes,) = bits_by_level(8.0, LEVELS, 4.75, "a title").axes
    bars = [container for container in axes.containers if isinstance(container, BarContainer)]
    heights = [[bar.get_height() for bar in container] for container in bars]
    assert heights == [[8.0, 4.75], [-0.5, 0.25], [-3.5, 0.5], [-4.0, 0.75]]
    assert {text.get_text() for text in axes.texts} >= {"8.00", "4.75", "-0.50", "+0.25", "-4.00", "+0.75"}
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["without\na model", "level 1\n2x16x16", "level 2\n16x4x4", "bits/dim\n(sum)"]
    assert axes.get_title() == "a title"


@pytest.mark.parametrize("n", [1, 8])
def test_bars_of_a_level_do_not_overlap(n: int) -> None:
    (axes,) = bits_by_level(8.0, LEVELS[:1] * n, 4.0, "").axes
    spans = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches if isinstance(bar, Rectangle))
    assert len(spans) == 3 * n + 2
    assert all(end <= start + 1e-9 for (_, end), (start, _) in pairwise(spans))


def test_only_sums_of_many_levels_have_numbers() -> None:
    (axes,) = bits_by_level(8.0, LEVELS * 2, 4.75, "").axes
    assert [text.get_text() for text in axes.texts] == ["8.00", "4.75", *["-4.00", "+0.75"] * 2]


def test_model_without_a_finite_image_is_drawn() -> None:
    figure = bits_by_level(8.0, [LevelPart((2, 4, 4), np.nan, np.nan)], np.nan, "")
    figure.draw_without_rendering()
    assert {text.get_text() for text in figure.axes[0].texts} == {"8.00", ""}

import math

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from glow_pipeline.plots.latents import LatentPanel, latent_histograms

EDGES = np.linspace(-2, 2, 5)


def panel(counts: list[int], beyond: int = 0, not_finite: int = 0) -> LatentPanel:
    return LatentPanel("level 1: 2x4x4", EDGES, np.array(counts), beyond, not_finite, 0.25, 1.5, 4.125)


def test_bars_are_densities_of_all_finite_elements() -> None:
    axes = latent_histograms([panel([1, 4, 3, 0], beyond=2)], "a title").axes[0]
    (bars,) = axes.patches
    assert isinstance(bars, StepPatch)
    values, _, _ = bars.get_data()
    assert np.asarray(values).tolist() == pytest.approx([0.1, 0.4, 0.3, 0.0])
    (normal,) = axes.lines
    assert np.asarray(normal.get_ydata()).tolist() == pytest.approx(
        [math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) for x in EDGES]
    )
    assert axes.get_yscale() == "log"


def test_panel_says_moments_and_what_is_not_drawn() -> None:
    title = latent_histograms([panel([1, 4, 3, 0], 2, 7)], "").axes[0].get_title()
    assert title == "level 1: 2x4x4\nmean 0.250, sd 1.500\nkurtosis 4.12\n2 beyond the axis\n7 not finite"


def test_huge_moments_are_short() -> None:
    huge = panel([1, 4, 3, 0])._replace(mean=-1e20, sd=math.nan, kurtosis=123456.7)
    assert "mean -1e+20, sd nan\nkurtosis 1.23e+05" in latent_histograms([huge], "").axes[0].get_title()


@pytest.mark.parametrize("n", [1, 4])
def test_every_level_has_a_panel(n: int) -> None:
    figure = latent_histograms([panel([1, 2, 3, 4])] * n, "a title")
    figure.draw_without_rendering()
    assert len(figure.axes) == n
    assert figure.get_suptitle() == "a title"


def test_level_without_a_finite_element_is_drawn() -> None:
    figure = latent_histograms([panel([0, 0, 0, 0], not_finite=9)], "")
    figure.draw_without_rendering()
    assert figure.axes[0].get_title().endswith("9 not finite")

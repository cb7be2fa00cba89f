import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from numpy.typing import NDArray

from glow_pipeline.plots.histograms import Joint, score_histograms


def bars(figure: Figure) -> list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """For each set (left edges, widths, heights)."""
    (axes,) = figure.axes
    return [
        (
            np.array([bar.get_x() for bar in container]),
            np.array([bar.get_width() for bar in container]),
            np.array([bar.get_height() for bar in container]),
        )
        for container in axes.containers
        if isinstance(container, BarContainer)
    ]


def draw(**scores: list[float]) -> Figure:
    return score_histograms({"bits": {name: np.array(values) for name, values in scores.items()}}, "a vs b")


values = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40)


@settings(max_examples=10)  # a figure each
@given(values, values)
def test_sets_have_area_1_and_same_bins(a: list[float], b: list[float]) -> None:
    drawn = bars(draw(a=a, b=b))
    assert len(drawn) == 2
    for _, widths, heights in drawn:
        assert (widths * heights).sum() == pytest.approx(1)
    assert np.array_equal(drawn[0][0], drawn[1][0])


def test_heights_are_the_density_of_the_scores() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(0, 1, 400), random.normal(3, 1, 100)
    drawn = bars(score_histograms({"bits": {"a": a, "b": b}}, ""))
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    for scores, (left, widths, heights) in zip((a, b), drawn, strict=True):
        assert (left[0], left[-1] + widths[-1]) == pytest.approx((low, high))
        edges = np.append(left, high)
        inner = [((scores >= edges[i]) & (scores < edges[i + 1])).sum() for i in range(len(left) - 1)]
        assert np.rint(heights * widths * len(scores))[:-1].tolist() == inner


def test_far_tail_is_in_the_last_bin() -> None:
    scores = [*np.linspace(1, 2, 995).tolist(), *[1e6] * 5]
    ((left, widths, heights),) = bars(draw(a=scores))
    assert left[-1] + widths[-1] < 10_000
    assert round((heights[-1] * widths[-1]) * 1000) >= 5
    assert (heights * widths).sum() == pytest.approx(1)


def test_equal_scores_can_be_drawn() -> None:
    ((_, widths, heights),) = bars(draw(a=[3.0, 3.0, 3.0]))
    assert (widths * heights).sum() == pytest.approx(1)
    assert np.count_nonzero(heights) == 1


def test_legend_has_names_and_numbers() -> None:
    (axes,) = draw(digits=[1.0, 2.0], textures=[3.0]).axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["digits (2)", "textures (1)"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("bits", "density", "a vs b")


def test_legend_counts_scores_that_are_not_finite() -> None:
    figure = draw(a=[1.0, 2.0, 3.0, np.inf, np.nan], b=[2.0, -np.inf], c=[1.0])
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a (5, 2 not finite)", "b (2, 1 not finite)", "c (1)"]
    for (_, widths, heights), in_ends in zip(bars(figure), ((0.2, 0.6), (0.5, 0.0), (1.0, 0.0)), strict=True):
        parts = widths * heights
        assert parts.sum() == pytest.approx(1)
        assert (parts[0], parts[-1]) == pytest.approx(in_ends)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e20, -1e20, 1e300])
def test_extreme_scores_can_be_drawn(value: float) -> None:
    ((_, widths, heights),) = bars(draw(a=[value] * 3))
    assert np.count_nonzero(heights) == 1
    assert (widths * heights).sum() == pytest.approx(1)


def test_axis_stays_near_the_first_set() -> None:
    """Outliers that score a million times as high leave the distribution of the others visible."""
    inside, outside = np.random.default_rng(0).exponential(size=500), np.geomspace(10, 1e6, 400)
    figure = score_histograms({"bits": {"a": inside, "b": outside}}, "")
    (left, widths, heights), _ = bars(figure)
    assert left[-1] + widths[-1] < 6 * inside.max()
    assert np.count_nonzero(heights) >= 8
    assert figure.axes[0].get_xlabel() == f"bits\n(0 + {(outside > left[-1] + widths[-1]).sum()} beyond the ends)"


def test_each_score_has_a_panel() -> None:
    sets = {"digits": np.array([1.0, 2.0]), "textures": np.array([3.0])}
    figure = score_histograms({"bits": sets, "grey levels": sets}, "a vs b")
    assert [axes.get_xlabel() for axes in figure.axes] == ["bits", "grey levels"]
    assert figure.get_suptitle() == "a vs b"
    assert all(len(axes.containers) == 2 for axes in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["digits (2)", "textures (1)"]


@pytest.mark.parametrize("n_panels", [1, 2, 4, 13])
def test_joint_panel_shows_both_sets(n_panels: int) -> None:
    x = {"digits": np.array([1.0, 2.0, np.inf]), "textures": np.array([3.0])}
    y = {"digits": np.array([5.0, 4.0, 6.0]), "textures": np.array([7.0])}
    panels = {f"score {i}": x for i in range(n_panels)}
    figure = score_histograms(panels, "", Joint("nll", x, "size", y))
    assert len(figure.axes) == n_panels + 1
    axes = figure.axes[-1]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("nll\n(1 + 0 beyond the ends)", "size")
    points = [np.asarray(dots.get_offsets()).tolist() for dots in axes.collections]
    assert points == [[[1, 5], [2, 4], [3, 6]], [[3, 7]]]

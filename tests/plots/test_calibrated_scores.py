import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from glow_pipeline.plots.calibrated_scores import FEW, calibrated_scores

CALIBRATION = np.random.default_rng(0).normal(size=500)


def texts(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def x_of(line: Line2D) -> list[float]:
    return list(map(float, np.asarray(line.get_xdata(), dtype=float)))


def test_few_files_are_marks_at_their_scores() -> None:
    figure = calibrated_scores(CALIBRATION, np.array([3.5]), np.array([0.0, 0.25]), 2.0, "NLL")
    axes = figure.axes[0]
    outliers, others, threshold = axes.lines
    assert x_of(outliers) == [3.5]
    assert x_of(others) == [0.0, 0.25]
    assert x_of(threshold) == [2.0, 2.0]
    assert texts(axes) == ["calibration images (500)", "outliers (1)", "other files (2)", "threshold of the verdict"]


def test_many_files_are_histograms_of_area_one_together() -> None:
    others, outliers = np.linspace(-2, 1.9, 90), np.linspace(2, 3, FEW - 89)
    axes = calibrated_scores(CALIBRATION, outliers, others, 2.0, "NLL").axes[0]
    areas = []
    for patch in axes.patches[-2:]:  # outlines
        x, y = np.asarray(patch.get_path().vertices).T
        areas.append(abs(np.trapezoid(y, x)))
    assert sum(areas) == pytest.approx(1)
    assert areas[0] == pytest.approx(len(outliers) / (FEW + 1))


def test_far_and_infinite_scores_are_at_the_end() -> None:
    files = np.array([1e9, np.inf, np.nan])
    axes = calibrated_scores(CALIBRATION, files, np.array([]), 2.0, "NLL").axes[0]
    (x,) = set(x_of(axes.lines[0]))
    assert max(CALIBRATION) < x < 100
    assert "3 beyond" in axes.get_xlabel()


def test_one_calibration_image_and_one_file_are_drawn() -> None:
    calibrated_scores(np.array([1.0]), np.array([]), np.array([1.0]), 1.0, "NLL").draw_without_rendering()

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.outliers.conformal.p_values import as_outlying, p_values

SCORES = st.lists(st.integers(-4, 4).map(float) | st.sampled_from([math.inf, -math.inf, math.nan]), max_size=20)


@given(SCORES, SCORES)
def test_p_value_counts_calibration_images_with_ties(calibration: list[float], scores: list[float]) -> None:
    p = p_values(np.sort(np.array(calibration)), np.array(scores, dtype=float))
    high = [math.inf if math.isnan(value) else value for value in calibration]
    for score, found in zip(scores, p, strict=True):
        limit = math.inf if math.isnan(score) else score
        assert found == (1 + sum(value >= limit for value in high)) / (len(high) + 1)


@given(st.lists(st.floats(-1e6, 1e6), max_size=30), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_tolerance_raises_p_values_and_keeps_order(calibration: list[float], scores: list[float]) -> None:
    ordered, rising = np.sort(np.array(calibration, dtype=float)), np.sort(np.array(scores))
    p = p_values(ordered, rising)
    exact = np.array([(1 + (ordered >= score).sum()) / (len(ordered) + 1) for score in rising])
    assert (p >= exact).all()
    assert (np.diff(p) <= 0).all()


@pytest.mark.parametrize("size", [1e-3, 1.0, 5e4])
def test_scores_equal_but_for_rounding_tie(size: float) -> None:
    calibration = np.array([-2 * size, size])
    assert as_outlying(calibration, np.array([size * (1 + 1e-6), size * (1 - 1e-6)])).tolist() == [1, 1]
    assert as_outlying(np.array([-size]), np.array([-size * (1 - 1e-6)])).tolist() == [1]


def test_no_calibration_image_leaves_p_at_one() -> None:
    assert p_values(np.empty(0), np.array([-1.0, math.inf])).tolist() == [1, 1]


@pytest.mark.parametrize("digits", [0, 6])
def test_p_values_of_like_images_are_rarely_small(digits: int) -> None:
    n, repeats = 99, 10_000
    scores = np.round(np.random.default_rng(0).normal(size=(repeats, n + 1)), digits)
    ordered = np.sort(scores[:, :n], axis=1)
    p = np.array([p_values(row, score)[0] for row, score in zip(ordered, scores[:, n:], strict=True)])
    for level in (0.1, 0.05, 0.01):
        assert (p <= level).mean() <= level + 3 * math.sqrt(level * (1 - level) / repeats)

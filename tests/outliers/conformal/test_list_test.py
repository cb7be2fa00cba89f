import math
from itertools import combinations

import numpy as np
import pytest
from scipy import special

from glow_pipeline.outliers.conformal.list_test import list_p_value


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference between the two distribution functions."""
    return max(abs((first <= x).mean() - (second <= x).mean()) for x in [*first, *second])


def test_p_value_counts_all_ways_to_split() -> None:
    scores = np.random.default_rng(0).normal(size=10)
    calibration, tested = scores[:6], scores[6:]
    measured = distance(calibration, tested)
    at_least = [
        distance(np.delete(scores, some), scores[list(some)]) >= measured - 1e-12 for some in combinations(range(10), 4)
    ]
    assert list_p_value(np.sort(calibration), tested) == pytest.approx(np.mean(at_least))


@pytest.mark.parametrize("digits", [0, 8])
def test_p_values_of_like_lists_are_rarely_small(digits: int) -> None:
    random, repeats = np.random.default_rng(1), 400
    drawn = np.round(random.normal(size=(repeats, 90)), digits)
    p = [list_p_value(np.sort(row[:60]), row[60:]) or 0.0 for row in drawn]
    assert np.mean(np.array(p) <= 0.1) <= 0.1 + 3 * math.sqrt(0.09 / repeats)


def test_shift_in_either_direction_is_detected() -> None:
    random = np.random.default_rng(2)
    calibration = np.sort(random.normal(size=500))
    for shift in (-0.5, 0.5):
        assert (list_p_value(calibration, random.normal(shift, size=200)) or 0) < 1e-4


def test_overflowing_scores_are_the_highest() -> None:
    calibration, scores = np.arange(50.0), np.array([1.0, 20.0, math.nan, math.inf])
    assert list_p_value(calibration, scores) == list_p_value(calibration, np.array([1.0, 20.0, 98.0, 99.0]))


def test_nothing_to_compare_has_no_p_value() -> None:
    assert list_p_value(np.empty(0), np.ones(3)) is None
    assert list_p_value(np.ones(3), np.empty(0)) is None


def test_large_sets_have_the_asymptotic_p_value() -> None:
    random, n, m = np.random.default_rng(3), 50_000, 30_000
    calibration, scores = np.sort(random.normal(size=n)), np.sort(random.normal(0.01, size=m))
    both = np.concatenate([calibration, scores])
    shares = [np.searchsorted(values, both, side="right") / len(values) for values in (calibration, scores)]
    asymptotic = special.kolmogorov(math.sqrt(n * m / (n + m)) * np.abs(shares[0] - shares[1]).max())
    assert list_p_value(calibration, scores) == pytest.approx(asymptotic, rel=0.05)

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.outliers.conformal.closed_testing import at_least_outliers, simes_rejects
from glow_pipeline.outliers.conformal.p_values import p_values


def closed_testing(ranks: list[int], n: int, rate: Fraction, level: Fraction) -> int:
    """The bound by its definition: all subsets, each rejected if all that contain it fail a test at level / 2."""
    p, m, k = [Fraction(rank, n + 1) for rank in ranks], len(ranks), math.floor(rate * (n + 1))
    subsets = [frozenset(some) for size in range(1, m + 1) for some in combinations(range(m), size)]

    def fails(some: frozenset[int]) -> bool:
        ordered, size = sorted(p[i] for i in some), len(some)
        simes = any(value <= (j + 1) * level / 2 / size for j, value in enumerate(ordered))
        flagged = sum(value <= rate for value in ordered)
        # Of the orders of n calibration images and the set those in which so many of the set or more are flagged.
        orders = sum(math.comb(k - 1 + x, x) * math.comb(n - k + size - x, size - x) for x in range(flagged, size + 1))
        return simes or (k > 0 and flagged > 0 and Fraction(orders, math.comb(n + size, size)) <= level / 2)

    failed = {some: fails(some) for some in subsets}
    rejected = {some for some in subsets if all(failed[other] for other in subsets if some <= other)}
    return m - max((len(some) for some in subsets if some not in rejected), default=0)


@given(
    st.integers(1, 60).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.integers(1, n + 1) | st.integers(1, min(4, n + 1)), max_size=7))
    ),
    st.sampled_from([5, 20, 33]),
    st.sampled_from([5, 10, 30]),
)
def test_bound_is_that_of_all_subsets(drawn: tuple[int, list[int]], rate: int, level: int) -> None:
    n, ranks = drawn
    expected = closed_testing(ranks, n, Fraction(rate, 100), Fraction(level, 100))
    assert at_least_outliers(np.array(ranks) / (n + 1), n, rate / 100, 1 - level / 100) == expected


@pytest.mark.parametrize(("n", "expected"), [(599, 5), (59, 3)])
def test_bound_of_eight_files_by_brute_force(n: int, expected: int) -> None:
    ranks = [1, 1, 1, 2, 3, n // 3, n // 2, n]
    assert at_least_outliers(np.array(ranks) / (n + 1), n, 0.05) == expected
    assert closed_testing(ranks, n, Fraction(5, 100), Fraction(5, 100)) == expected


def test_no_file_has_no_outlier() -> None:
    assert at_least_outliers(np.empty(0), 99, 0.01) == 0
    assert at_least_outliers(np.array([0.5]), 1, 0.01) == 0


def test_many_outliers_are_counted_with_few_calibration_images() -> None:
    p = np.concatenate([np.full(8, 1 / 300), np.arange(1, 143) / 143])
    assert at_least_outliers(p, 299, 0.01) == 4
    assert simes_rejects(p[4:], 0.025) is False


@pytest.mark.parametrize("n_out", [0, 5])
def test_bound_is_seldom_above_the_truth(n_out: int) -> None:
    n, repeats = 199, 500
    random = np.random.default_rng(2)
    wrong = 0
    for _ in range(repeats):
        scores = np.concatenate([random.normal(size=40), np.full(n_out, 9.0)])
        p = p_values(np.sort(random.normal(size=n)), scores)
        wrong += at_least_outliers(p, n, 0.05) > n_out
    assert wrong / repeats <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glow_pipeline.outliers.conformal.guarantee import (
    false_alarm_bound,
    flagged_interval,
    flagged_ranks,
    images_needed,
    smallest_p,
)

TYPED = st.integers(1, 9999).map(lambda number: number / 10_000)


@given(TYPED, st.integers(0, 100_000))
def test_flagged_ranks_count_p_values_up_to_rate(rate: float, n: int) -> None:
    k = flagged_ranks(n, rate)
    exact = Fraction(round(rate * 10_000), 10_000)
    assert Fraction(k, n + 1) <= exact < Fraction(k + 1, n + 1)
    if k:
        assert k / (n + 1) <= rate, "as the verdict compares them, in floating point"
    assert (k + 1) / (n + 1) > rate


@given(TYPED)
def test_images_needed_are_the_fewest_that_flag(rate: float) -> None:
    needed = images_needed(rate)
    assert flagged_ranks(needed, rate) >= 1
    assert smallest_p(needed) <= rate
    assert needed == 0 or flagged_ranks(needed - 1, rate) == 0


def test_images_needed_of_common_rates() -> None:
    assert [images_needed(rate) for rate in (0.5, 0.1, 0.05, 0.03, 0.01, 0.001)] == [1, 9, 19, 33, 99, 999]
    assert math.floor(0.29 * 100) == 28, "floating point"
    assert flagged_ranks(99, 0.29) == 29


def test_bound_agrees_with_published_figures() -> None:
    assert false_alarm_bound(524, 0.01) == pytest.approx(0.0152, abs=5e-5)
    assert false_alarm_bound(524, 0.05) == pytest.approx(0.062, abs=5e-4)
    assert false_alarm_bound(6000, 0.01) == pytest.approx(0.0117, abs=5e-5)
    assert false_alarm_bound(98, 0.01) == 0


@given(st.integers(9, 2000), st.sampled_from([0.1, 0.2, 0.5]), st.sampled_from([0.5, 0.9, 0.99]))
def test_bound_is_exceeded_as_seldom_as_said(n: int, rate: float, confidence: float) -> None:
    bound = false_alarm_bound(n, rate, confidence)
    # The rate is above the bound if fewer than k of n uniform scores are in the upper part of that size.
    fewer = stats.binom.cdf(flagged_ranks(n, rate) - 1, n, bound)
    assert fewer == pytest.approx(1 - confidence, rel=1e-6)


@pytest.mark.parametrize(
    ("n", "m", "rate", "low", "high"),
    [
        (6000, 10_000, 0.10, 0.0905, 0.1097),
        (6000, 10_000, 0.05, 0.0432, 0.0571),
        (6000, 10_000, 0.01, 0.0070, 0.0134),
        (524, 624, 0.10, 0.067, 0.136),
        (524, 624, 0.05, 0.027, 0.077),
        (524, 624, 0.01, 0.0016, 0.0224),
    ],
)
def test_interval_agrees_with_published_figures(n: int, m: int, rate: float, low: float, high: float) -> None:
    found = np.array(flagged_interval(n, m, rate)) / m
    assert found == pytest.approx([low, high], abs=5e-5 if n == 6000 else 5e-4)


@given(st.integers(1, 60), st.integers(1, 40), st.sampled_from([0.01, 0.1, 0.29, 0.5]), st.sampled_from([0.8, 0.95]))
def test_interval_counts_the_orders_of_all_images(n: int, m: int, rate: float, coverage: float) -> None:
    k = flagged_ranks(n, rate)
    low, high = flagged_interval(n, m, rate, coverage)
    if not k:
        assert (low, high) == (0, 0)
        return
    # Of the orders of n + m images those in which x test images are above the k-th calibration image.
    orders = [math.comb(k - 1 + x, x) * math.comb(n - k + m - x, m - x) for x in range(m + 1)]
    cumulative = np.cumsum([Fraction(count, math.comb(n + m, m)) for count in orders])
    assert cumulative[-1] == 1
    tail = Fraction(1 - round(coverage * 100) / 100).limit_denominator(100) / 2
    assert low == next(x for x in range(m + 1) if cumulative[x] >= tail)
    assert high == next(x for x in range(m + 1) if cumulative[x] >= 1 - tail)


@pytest.mark.parametrize(("n", "m", "fails"), [(6000, 10_000, 0.23), (524, 624, 0.19)])
def test_binomial_interval_would_fail_a_quarter_of_runs(n: int, m: int, fails: float) -> None:
    ranks = flagged_ranks(n, 0.1)
    low, high = stats.binom.interval(0.95, m, 0.1)
    falls = stats.betabinom(m, ranks, n + 1 - ranks)
    assert falls.cdf(low - 1) + falls.sf(high) == pytest.approx(fails, abs=0.02)
    low, high = flagged_interval(n, m, 0.1)
    assert falls.cdf(low - 1) + falls.sf(high) <= 0.05

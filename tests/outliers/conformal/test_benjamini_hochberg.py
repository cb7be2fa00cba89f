import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glow_pipeline.outliers.conformal.benjamini_hochberg import benjamini_hochberg, fewest_rejections
from glow_pipeline.outliers.conformal.p_values import p_values

RANKS = st.integers(1, 200).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.integers(1, n + 1) | st.integers(1, 2), max_size=30))
)
RATE = st.integers(1, 99)  # percent


@given(RANKS, RATE)
def test_rejections_agree_with_exact_arithmetic(drawn: tuple[int, list[int]], percent: int) -> None:
    n, ranks = drawn
    p, q, m = [Fraction(rank, n + 1) for rank in ranks], Fraction(percent, 100), len(ranks)
    largest = max((r for r in range(1, m + 1) if sum(each <= r * q / m for each in p) >= r), default=0)
    expected = [largest > 0 and each <= largest * q / m for each in p]
    assert benjamini_hochberg(np.array(p, dtype=float), percent / 100).tolist() == expected


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=30), st.sampled_from([0.05, 0.2]))
def test_rejections_agree_with_scipy(p: list[float], q: float) -> None:
    assert benjamini_hochberg(np.array(p), q).tolist() == (stats.false_discovery_control(p) <= q).tolist()


def test_empty_list_has_no_rejections() -> None:
    assert benjamini_hochberg(np.empty(0), 0.1).shape == (0,)
    assert fewest_rejections(0, 99, 0.1) == 0


def test_fewest_rejections_agree_with_published_figures() -> None:
    assert fewest_rejections(624, 524, 0.05) == 24
    assert fewest_rejections(624, 524, 0.01) == 119


@given(st.integers(1, 300), st.integers(1, 300), RATE)
def test_fewer_than_the_fewest_are_never_rejected(m: int, n: int, percent: int) -> None:
    q, fewest = percent / 100, fewest_rejections(m, n, percent / 100)
    for count in {min(fewest, m), min(fewest - 1, m)}:
        p = np.where(np.arange(m) < count, 1 / (n + 1), 1)
        assert benjamini_hochberg(p, q).sum() == (count if count >= fewest else 0)


@pytest.mark.parametrize("n_out", [0, 20])
def test_false_discoveries_stay_below_q_over_mixtures(n_out: int) -> None:
    n, n_in, q, repeats = 199, 80, 0.1, 1000
    random = np.random.default_rng(1)
    shares = []
    for _ in range(repeats):
        scores = np.concatenate([random.normal(size=n_in), random.normal(3, 1, n_out)])
        rejected = benjamini_hochberg(p_values(np.sort(random.normal(size=n)), scores), q)
        shares.append(rejected[:n_in].sum() / max(1, rejected.sum()))
    assert np.mean(shares) <= q + 3 * np.std(shares) / math.sqrt(repeats)

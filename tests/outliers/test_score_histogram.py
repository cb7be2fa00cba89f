import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glow_pipeline.outliers.metrics import roc_points
from glow_pipeline.outliers.score_histogram import Piece, ScoreHistogram, score_histogram


def histogram(is_out: NDArray[np.bool_], score: NDArray[np.float64], bins: int, piece: int = 7) -> ScoreHistogram:
    def pieces() -> Iterable[Piece]:
        for start in range(0, len(score), piece):
            yield is_out[start : start + piece], score[start : start + piece]

    return score_histogram(pieces, int((~is_out).sum()), int(is_out.sum()), bins)


# Ties, neighbours, numbers so large that a range would join all others, and infinities.
SCORES = (
    st.floats(-2, 2)
    | st.integers(-3, 3).map(float)
    | st.sampled_from([math.inf, -math.inf, math.nan, 1e30, -1e30, 1.7976931348623157e308, 5e-324, 1.0, 1 + 2**-52])
)
ROWS = st.lists(st.tuples(st.booleans(), SCORES), min_size=2, max_size=80)


def both(rows: list[tuple[bool, float]]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    is_out, score = np.array([out for out, _ in rows]), np.array([value for _, value in rows])
    assume(is_out.any() and not is_out.all())
    return is_out, score


@given(ROWS, st.integers(1, 8))
def test_every_score_is_in_its_bin(rows: list[tuple[bool, float]], bins: int) -> None:
    is_out, score = both(rows)
    made = histogram(is_out, score, bins)
    assert (made.n_in.sum(), made.n_out.sum()) == ((~is_out).sum(), is_out.sum())
    assert (np.diff(made.lower) > 0).all()
    place, counted = made.bin_of(score), np.where(np.isnan(score), np.inf, score)
    assert (made.lower[place] <= counted).all()
    assert (counted < np.append(made.lower, np.inf)[place + 1])[counted < np.inf].all()
    for own in np.flatnonzero(made.is_one_score):
        assert len(set(counted[place == own])) <= 1


@given(ROWS)
def test_scores_alone_in_bins_are_exact(rows: list[tuple[bool, float]]) -> None:
    is_out, score = both(rows)
    made = histogram(is_out, score, 1000)
    counted = np.where(np.isnan(score), np.inf, score)
    assert made.ranks(score).tolist() == [1 + (counted > value).sum() for value in counted]
    fpr, tpr = made.roc_points()
    for exact, own in zip(roc_points(is_out, score), (fpr, tpr), strict=True):
        assert set(exact) == set(own)


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_no_bin_holds_much_of_a_set(seed: int) -> None:
    random = np.random.default_rng(seed)
    is_out = random.random(50_000) < random.choice([0.5, 0.02])
    score = np.exp(5 * random.normal(size=50_000)) + 1e6 * is_out
    score[::100] = 1e30
    made = histogram(is_out, score, 256, piece=10_000)
    for counts in (made.n_in, made.n_out):
        assert counts[~made.is_one_score].max() <= 5 * counts.sum() / 256


@pytest.mark.parametrize("period", [4, 8, 10])
def test_rows_in_a_period_are_all_sampled(period: int) -> None:
    """A sample of every n-th row would see a single class of rows in turn."""
    score = np.arange(80_000) % period + np.random.default_rng(0).random(80_000)
    is_out = np.arange(80_000) >= 40_000
    made = histogram(is_out, score, 128, piece=5_000)
    assert made.n_in.max() < 40_000 / 128 * 5


def test_equal_rows_have_equal_bins() -> None:
    score, is_out = np.random.default_rng(0).random(5000), np.arange(5000) % 3 == 0
    first, again = (histogram(is_out, score, 16, piece=500) for _ in range(2))
    assert np.array_equal(first.lower, again.lower)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, percentileofscore

from glow_pipeline.outliers.heat_maps.scale import brightness, quantiles_of, share_below
from glow_pipeline.outliers.scores.score import Numbers


def uniform(n: int, seed: int = 0) -> Numbers:
    return np.random.default_rng(seed).random(n)


def pieces(values: Numbers, size: int) -> list[Numbers]:
    return [values[i : i + size] for i in range(0, len(values), size)]


@given(st.integers(1, 2000), st.integers(1, 300), st.integers(0, 9))
def test_quantiles_of_pieces_are_those_of_all(n: int, size: int, seed: int) -> None:
    values = uniform(n, seed)
    expected = np.quantile(values, np.linspace(0, 1, 1001))
    assert np.array_equal(quantiles_of(pieces(values, size)), expected)  # type: ignore[arg-type]


def test_large_stream_is_sampled_evenly() -> None:
    """Beginning and end of a stream have the same weight: its values rise from 0 to 1."""
    quantiles = quantiles_of(pieces(np.linspace(0, 1, 400_000), 999), most=20_000)
    assert quantiles == pytest.approx(np.linspace(0, 1, 1001), abs=0.02)


def test_sample_is_repeatable() -> None:
    first, second = (quantiles_of(pieces(uniform(5000), 100), most=500) for _ in range(2))
    assert np.array_equal(first, second)  # type: ignore[arg-type]


def test_no_numbers_have_no_quantiles() -> None:
    assert quantiles_of([]) is None
    assert quantiles_of([np.empty(0)]) is None


@given(st.integers(1, 3000), st.integers(0, 9))
def test_share_below_counts_smaller_numbers(n: int, seed: int) -> None:
    values = np.round(uniform(n, seed), 1) if seed % 2 else uniform(n, seed)
    asked = np.array([-1.0, *np.linspace(0.05, 0.95, 10), 2.0])
    quantiles = quantiles_of([values])
    assert quantiles is not None
    expected = [percentileofscore(values, each, kind="strict") / 100 for each in asked]
    resolution = 0.002 + 1 / n if seed % 2 == 0 else 1.0
    assert share_below(quantiles, asked) == pytest.approx(np.array(expected), abs=resolution)
    assert share_below(quantiles, asked)[[0, -1]] == pytest.approx([0, 1], abs=1e-3)


def test_number_equal_to_all_is_not_above() -> None:
    quantiles = np.full(1001, 3.0)
    assert share_below(quantiles, np.array([2.9, 3.0, 3.1])).tolist() == [0, 0, 1]


def test_pixels_that_belong_are_drawn_dark() -> None:
    surprise = np.array([0, 0.5, 0.95, 0.995, 0.999, 1 - 1e-8, 1])
    assert brightness(surprise) == pytest.approx([0, 0, 0, 0.75 * np.log(10) / np.log(50), 0.75, 1, 1])
    assert brightness(uniform(10_000)).mean() < 0.03


def test_values_beyond_all_numbers_keep_their_order() -> None:
    quantiles = quantiles_of([np.random.default_rng(0).normal(size=20_000)])
    assert quantiles is not None
    shares = share_below(quantiles, np.array([0.0, 2.3, 3.2, 5.0, 10.0, 100.0]))
    assert (np.diff(shares) > 0).all()
    assert shares[3] < norm.cdf(5)  # a heavier tail than theirs


def test_tail_begins_where_quantiles_end() -> None:
    quantiles = np.linspace(0, 1, 1001)
    around = share_below(quantiles, 0.999 + np.array([-1e-9, 0, 1e-9]))
    assert around == pytest.approx(0.999, abs=1e-8)
    assert share_below(quantiles, np.array([1.009])) == pytest.approx(1 - 1e-3 / 4)  # 2 u beyond, u = .005

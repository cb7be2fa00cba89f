import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.bootstrap import intervals, resampled_metrics
from glow_pipeline.outliers.metrics import METRICS, detection_metrics
from glow_pipeline.randomness import key

IS_OUT = np.array([False, True, False, True, True, False, False, True, False])
SCORE = np.array([0.0, 3.0, 1.0, 1.0, math.inf, 2.0, math.nan, -1.0, 1.0])


@settings(max_examples=20)
@given(st.integers(0, 3), st.integers(0, 2**32))
def test_resamples_equal_naive_resampling(levels: int, seed: int) -> None:
    """The images of each resample are gathered and measured from scratch."""
    random = np.random.default_rng(seed)
    is_out = np.arange(25) % 3 == 0
    score = random.integers(levels + 1, size=25) if levels else random.normal(size=25)
    got = resampled_metrics(is_out, {"a": score.astype(float)}, 10, seed)["a"]
    inside, outside = np.flatnonzero(~is_out), np.flatnonzero(is_out)
    draws = np.random.default_rng(key(seed, "bootstrap") % 2**64)
    for draw in range(10):
        rows = [inside[draws.integers(16, size=16)], outside[draws.integers(9, size=9)]]
        images = np.concatenate(rows)
        expected = detection_metrics(is_out[images], score[images].astype(float))
        assert {metric: got[metric][draw] for metric in METRICS} == pytest.approx(expected)


def test_a_score_has_same_resamples_beside_others() -> None:
    alone = resampled_metrics(IS_OUT, {"a": SCORE}, 20, 0)
    both = resampled_metrics(IS_OUT, {"b": np.arange(9.0), "a": SCORE}, 20, 0)
    for metric in METRICS:
        assert np.array_equal(alone["a"][metric], both["a"][metric])
    assert not np.array_equal(both["a"]["auroc"], both["b"]["auroc"])


def test_equal_scores_have_equal_resamples() -> None:
    both = resampled_metrics(IS_OUT, {"a": SCORE, "b": 2 * SCORE}, 20, 0)
    assert np.array_equal(both["a"]["auroc"], both["b"]["auroc"])


def test_seed_chooses_the_resamples() -> None:
    first, again, other = (resampled_metrics(IS_OUT, {"a": SCORE}, 20, seed)["a"]["auroc"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_more_draws_continue_the_same_resamples() -> None:
    few, many = (resampled_metrics(IS_OUT, {"a": SCORE}, draws, 0)["a"]["auroc"] for draws in (5, 20))
    assert np.array_equal(few, many[:5])


def test_interval_is_the_middle_95_percent() -> None:
    limits = intervals({"auroc": np.random.default_rng(0).permutation(np.linspace(0, 1, 1001))})
    assert limits == pytest.approx({"auroc_low": 0.025, "auroc_high": 0.975})
    assert intervals({"auroc": np.empty(0)}) == {}


def test_intervals_cover_the_true_auroc() -> None:
    """The AUROC of normal scores whose means differ by 1 is Phi(1 / sqrt 2); 95% of intervals should contain it."""
    truth, covered, repetitions = NormalDist().cdf(1 / math.sqrt(2)), 0, 200
    random = np.random.default_rng(0)
    is_out = np.arange(160) >= 90
    for repetition in range(repetitions):
        score = random.normal(size=160) + is_out
        resampled = resampled_metrics(is_out, {"a": score}, 100, repetition)
        limits = intervals({"auroc": resampled["a"]["auroc"]})
        covered += limits["auroc_low"] <= truth <= limits["auroc_high"]
    assert 0.90 <= covered / repetitions <= 0.98


def test_interval_width_matches_known_variance() -> None:
    """Under equal distributions the variance of the AUROC is (n + m + 1) / (12 n m) (Mann and Whitney)."""
    n, m = 300, 200
    is_out = np.arange(n + m) >= n
    score = np.random.default_rng(1).normal(size=n + m)
    limits = intervals({"auroc": resampled_metrics(is_out, {"a": score}, 1000, 0)["a"]["auroc"]})
    width = limits["auroc_high"] - limits["auroc_low"]
    assert width == pytest.approx(2 * 1.96 * math.sqrt((n + m + 1) / (12 * n * m)), rel=0.1)


def test_one_kind_of_images_is_refused() -> None:
    with pytest.raises(GlowPipelineError, match=r"^9 in-distribution images and 0 outliers"):
        resampled_metrics(np.zeros(9, dtype=bool), {"a": SCORE}, 5, 0)

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.metrics import detection_metrics, finite_mean, roc_points

Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]


def auroc_by_pairs(is_out: Labels, score: Scores) -> float:
    """Return how often an outlier scores higher than an in-distribution image; a tie counts half (Mann and Whitney)."""
    pairs = list(itertools.product(score[is_out], score[~is_out]))
    return sum((out > belongs) + 0.5 * (out == belongs) for out, belongs in pairs) / len(pairs)


def average_precision_by_definition(positive: Labels, score: Scores) -> float:
    """Return the sum over thresholds t, from the highest, of (recall(t) - recall before) * precision(t)."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        found = score >= threshold
        recall = (found & positive).sum() / positive.sum()
        total += (recall - before) * (found & positive).sum() / found.sum()
        before = recall
    return total


def fpr_by_brute_force(is_out: Labels, score: Scores) -> float:
    """Return the lowest false positive rate of all thresholds that find at least 95% of the outliers."""
    rates = [
        (score[~is_out] >= threshold).mean()
        for threshold in set(score)
        if 100 * (score[is_out] >= threshold).sum() >= 95 * is_out.sum()
    ]
    return float(min(rates))


# Ties, numbers so large or so near that a shift or a scale would join them, and infinities.
scores = st.integers(-4, 4).map(float) | st.sampled_from([math.inf, -math.inf, 1e20, 1.7e308, -1.7e308, 5e-324, 1e-300])


@given(st.lists(st.tuples(st.booleans(), scores), min_size=2, max_size=60))
def test_metrics_follow_their_definitions(rows: list[tuple[bool, float]]) -> None:
    is_out = np.array([out for out, _ in rows])
    score = np.array([value for _, value in rows])
    assume(is_out.any() and not is_out.all())
    assert detection_metrics(is_out, score) == pytest.approx(
        {
            "auroc": auroc_by_pairs(is_out, score),
            "aupr_out": average_precision_by_definition(is_out, score),
            "aupr_in": average_precision_by_definition(~is_out, -score),
            "fpr_at_95_tpr": fpr_by_brute_force(is_out, score),
        }
    )


@pytest.mark.parametrize(
    ("scores", "auroc"),
    [
        ([0.0, 1e20, math.inf, 5.0], 0.75),
        ([0.0, 1.0, -math.inf, 2.0], 0.5),
        ([0.0, 1.0, math.nan, 2.0], 1.0),
        ([0.0, math.inf, math.nan, 2.0], (1 + 0.5 + 1 + 0) / 4),
    ],
)
def test_scores_not_finite_have_a_rank(scores: list[float], auroc: float) -> None:
    is_out = np.array([False, False, True, True])
    assert detection_metrics(is_out, np.array(scores))["auroc"] == auroc
    fpr, tpr = roc_points(is_out, np.array(scores))
    assert np.trapezoid(tpr, fpr) == pytest.approx(auroc)


@pytest.mark.parametrize("is_out", [True, False])
def test_one_kind_of_images_is_refused(is_out: bool) -> None:
    with pytest.raises(GlowPipelineError, match=r"^[03] in-distribution images and [03] outliers: "):
        detection_metrics(np.array([is_out] * 3), np.arange(3.0))


def test_finite_mean_excludes_and_counts_the_others() -> None:
    assert finite_mean(np.array([1.0, math.inf, 3.0, math.nan, -math.inf])) == (2.0, 3)
    assert finite_mean(np.array([math.inf])) == (None, 1)


@pytest.mark.parametrize("n_out", [1, 19, 20, 21, 40, 57, 60])
def test_fpr_threshold_finds_95_percent_of_outliers(n_out: int) -> None:
    # Outlier i scores i, and one in-distribution image scores just below each outlier.
    outliers = np.arange(n_out, dtype=float)
    score = np.concatenate([outliers, outliers - 0.5])
    is_out = np.arange(2 * n_out) < n_out
    missed = n_out * 5 // 100  # so many may be missed; the in-distribution ones above the threshold are flagged
    assert detection_metrics(is_out, score)["fpr_at_95_tpr"] == pytest.approx((n_out - missed - 1) / n_out)


def test_four_scores_by_hand() -> None:
    # In falling order: out, in, out, in.
    got = detection_metrics(np.array([False, True, False, True]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert got == pytest.approx({"auroc": 0.75, "aupr_out": 5 / 6, "aupr_in": 5 / 6, "fpr_at_95_tpr": 0.5})


def test_constant_score_is_chance() -> None:
    got = detection_metrics(np.array([True] * 3 + [False] * 9), np.ones(12))
    assert got == pytest.approx({"auroc": 0.5, "aupr_out": 0.25, "aupr_in": 0.75, "fpr_at_95_tpr": 1.0})


def test_perfect_separation_has_perfect_metrics() -> None:
    got = detection_metrics(np.array([True] * 3 + [False] * 9), np.arange(12)[::-1].astype(float))
    assert got == pytest.approx({"auroc": 1.0, "aupr_out": 1.0, "aupr_in": 1.0, "fpr_at_95_tpr": 0.0})


def test_reversed_score_is_worse_than_chance() -> None:
    got = detection_metrics(np.array([True] * 3 + [False] * 9), np.arange(12).astype(float))
    assert got["auroc"] == 0.0
    assert got["fpr_at_95_tpr"] == 1.0


@given(st.lists(st.integers(-50, 50), min_size=6, max_size=30))
def test_only_the_order_of_scores_counts(values: list[int]) -> None:
    score = np.array(values, dtype=float)
    is_out = np.arange(len(values)) % 3 == 0
    assert detection_metrics(is_out, np.exp(score / 10)) == detection_metrics(is_out, score)


def test_metrics_are_plain_numbers() -> None:
    got = detection_metrics(np.array([True, False]), np.array([1.0, 0.0], dtype=np.float32))
    assert all(type(value) is float for value in got.values())

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score, roc_curve

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.metrics import detection_metrics, finite_mean, metrics_of_counts, places, roc_points

Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]


def auroc_by_pairs(is_out: Labels, score: Scores) -> float:
    """Return how often an outlier scores higher than an in-distribution image; a tie counts half (Mann and Whitney)."""
    pairs = list(itertools.product(score[is_out], score[~is_out]))
    return sum((out > belongs) + 0.5 * (out == belongs) for out, belongs in pairs) / len(pairs)


def aupr_by_definition(positive: Labels, score: Scores) -> float:
    """Return the sum over thresholds, from the highest, of the rise of recall times the mean of two precisions."""
    total, recall_before, precision_before = 0.0, 0.0, 1.0
    for threshold in sorted(set(score), reverse=True):
        found = score >= threshold
        recall = (found & positive).sum() / positive.sum()
        precision = (found & positive).sum() / found.sum()
        total += (recall - recall_before) * (precision + precision_before) / 2
        recall_before, precision_before = recall, precision
    return total


def rates_by_brute_force(is_out: Labels, score: Scores) -> tuple[float, float]:
    """Return the lowest false positive rate of all thresholds that find 95% of the outliers, and its true one."""
    rates = [
        ((score[~is_out] >= threshold).mean(), (score[is_out] >= threshold).mean())
        for threshold in set(score)
        if 100 * (score[is_out] >= threshold).sum() >= 95 * is_out.sum()
    ]
    return min(rates)


# Ties, numbers so large or so near that a shift or a scale would join them, and infinities.
scores = st.integers(-4, 4).map(float) | st.sampled_from([math.inf, -math.inf, 1e20, 1.7e308, -1.7e308, 5e-324, 1e-300])


@given(st.lists(st.tuples(st.booleans(), scores), min_size=2, max_size=60))
def test_metrics_follow_their_definitions(rows: list[tuple[bool, float]]) -> None:
    is_out = np.array([out for out, _ in rows])
    score = np.array([value for _, value in rows])
    assume(is_out.any() and not is_out.all())
    fpr, tpr = rates_by_brute_force(is_out, score)
    assert detection_metrics(is_out, score) == pytest.approx(
        {
            "auroc": auroc_by_pairs(is_out, score),
            "aupr_out": aupr_by_definition(is_out, score),
            "aupr_in": aupr_by_definition(~is_out, -score),
            "fpr_at_95_tpr": fpr,
            "detection_error": 0.5 * (1 - tpr) + 0.5 * fpr,
        }
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(-6, 6)), min_size=2, max_size=60))
def test_metrics_equal_those_of_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    is_out = np.array([out for out, _ in rows])
    score = np.array([value for _, value in rows], dtype=float)
    assume(is_out.any() and not is_out.all())
    got = detection_metrics(is_out, score)
    precision_out, recall_out, _ = precision_recall_curve(is_out, score)
    precision_in, recall_in, _ = precision_recall_curve(~is_out, -score)
    fpr, tpr, _ = roc_curve(is_out, score, drop_intermediate=False)
    assert got["auroc"] == pytest.approx(roc_auc_score(is_out, score))
    assert got["aupr_out"] == pytest.approx(auc(recall_out, precision_out))
    assert got["aupr_in"] == pytest.approx(auc(recall_in, precision_in))
    assert got["fpr_at_95_tpr"] == pytest.approx(fpr[np.argmax(tpr >= 0.95)])
    assert np.allclose(roc_points(is_out, score), (fpr, tpr))


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_metrics_equal_those_of_pytorch_ood(levels: int) -> None:
    metrics = pytest.importorskip("pytorch_ood.metrics", reason="pytorch-ood is no dependency")
    random = np.random.default_rng(levels)
    is_out = random.random(700) < 0.3
    score = random.integers(levels, size=700) / levels + 0.4 * is_out
    theirs = metrics.OODMetrics().update(torch.tensor(score), torch.where(torch.tensor(is_out), -1, 1)).compute()
    names = {"auroc": "AUROC", "aupr_out": "AUPR-OUT", "aupr_in": "AUPR-IN", "fpr_at_95_tpr": "FPR95TPR"}
    ours = detection_metrics(is_out, score)
    assert {name: ours[name] for name in names} == pytest.approx({name: theirs[names[name]] for name in names})


def test_counts_of_zero_change_nothing() -> None:
    n_in, n_out = np.array([1, 0, 3, 2]), np.array([4, 1, 0, 2])
    spread = np.array([1, 3, 4, 6])  # places 0, 2, 5 and 7 have no image
    with_in, with_out = np.zeros((2, 8), dtype=np.int64)
    with_in[spread], with_out[spread] = n_in, n_out
    assert metrics_of_counts(with_in, with_out) == metrics_of_counts(n_in, n_out)
    assert metrics_of_counts(with_in, with_out, np.full((6, 8), np.nan)) == metrics_of_counts(n_in, n_out)


def test_places_put_nan_beside_infinity() -> None:
    assert places(np.array([1.0, math.nan, math.inf, -math.inf, 1.0])).tolist() == [1, 0, 0, 2, 1]


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
    assert got == pytest.approx(
        {"auroc": 0.75, "aupr_out": 19 / 24, "aupr_in": 19 / 24, "fpr_at_95_tpr": 0.5, "detection_error": 0.25}
    )


def test_constant_score_is_chance() -> None:
    got = detection_metrics(np.array([True] * 3 + [False] * 9), np.ones(12))
    assert got == pytest.approx(
        # One threshold, which flags all: precision falls from 1 to the share of the kind.
        {"auroc": 0.5, "aupr_out": 0.625, "aupr_in": 0.875, "fpr_at_95_tpr": 1.0, "detection_error": 0.5}
    )


def test_perfect_separation_has_perfect_metrics() -> None:
    got = detection_metrics(np.array([True] * 3 + [False] * 9), np.arange(12)[::-1].astype(float))
    assert got == pytest.approx(
        {"auroc": 1.0, "aupr_out": 1.0, "aupr_in": 1.0, "fpr_at_95_tpr": 0.0, "detection_error": 0.0}
    )


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

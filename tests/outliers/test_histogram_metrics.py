import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.outliers.bootstrap import metrics_with_intervals
from glow_pipeline.outliers.histogram_metrics import ERROR, auroc_differences, histogram_metrics
from glow_pipeline.outliers.metrics import METRICS, detection_metrics
from glow_pipeline.outliers.score_table import ScoreTable
from tests.outliers.test_score_histogram import ROWS, both, histogram


@given(ROWS, st.integers(1, 8))
def test_metrics_are_within_the_reported_error(rows: list[tuple[bool, float]], bins: int) -> None:
    is_out, score = both(rows)
    exact, got = detection_metrics(is_out, score), histogram_metrics(histogram(is_out, score, bins), 0, 0)
    assert all(abs(got[metric] - exact[metric]) <= got[ERROR] + 1e-12 for metric in METRICS)


@pytest.mark.parametrize("levels", [3, 200])
def test_metrics_of_few_distinct_scores_are_exact(levels: int) -> None:
    random = np.random.default_rng(0)
    is_out = random.random(30_000) < 0.3
    score = np.floor(levels * random.beta(2, 2 + is_out))
    score[:3] = np.inf, -np.inf, np.nan
    got = histogram_metrics(histogram(is_out, score, 1000, piece=10_000), 0, 0)
    assert {metric: got[metric] for metric in METRICS} == pytest.approx(detection_metrics(is_out, score), abs=1e-14)
    assert got[ERROR] < 1e-4  # a score that is not in the sample may be in any order with its neighbour


@pytest.mark.parametrize("n_out", [400, 200_000])
def test_error_of_usual_bins_is_tiny(n_out: int) -> None:
    """Sets of different sizes, of which some scores are 1e30, infinite or equal."""
    random = np.random.default_rng(n_out)
    is_out = np.arange(1_200_000) >= 1_200_000 - n_out
    score = random.normal(size=len(is_out)) + is_out
    score[random.random(len(score)) < 0.001] = 1e30
    score[random.random(len(score)) < 0.001] = np.inf
    score[random.random(len(score)) < 0.1] = 0.5
    exact, got = detection_metrics(is_out, score), histogram_metrics(histogram(is_out, score, 2**17, 2**18), 0, 0)
    assert got[ERROR] < 1e-4
    assert {metric: got[metric] for metric in METRICS} == pytest.approx(exact, abs=1e-5)


def test_intervals_are_as_wide_as_those_of_images() -> None:
    random = np.random.default_rng(1)
    is_out = np.arange(4000) >= 2500
    scores = {"a": random.normal(size=4000) + is_out}
    scores["b"] = scores["a"] + 0.5 * random.normal(size=4000)
    exact = metrics_with_intervals(is_out, scores, ["a"], 400, 0)
    histograms = {name: histogram(is_out, score, 512, piece=1000) for name, score in scores.items()}
    rows = pd.DataFrame({**scores, "is_out": is_out, "unreadable": None})
    got = {name: histogram_metrics(made, 400, 0) for name, made in histograms.items()}
    differences = auroc_differences(ScoreTable.of(rows), {name: name for name in scores}, histograms, ["a"], True)
    assert differences["a"] == {}
    for metric in (*METRICS, "auroc_minus_a"):
        ours, theirs = {**got["b"], **differences["b"]}, exact["b"]
        width, expected = (each[f"{metric}_high"] - each[f"{metric}_low"] for each in (ours, theirs))
        assert width == pytest.approx(expected, rel=0.2), metric
        assert ours[metric] == pytest.approx(theirs[metric], abs=0.05 * expected), metric


def test_no_draws_mean_no_intervals() -> None:
    is_out, score = np.arange(40) >= 20, np.arange(40.0)
    made = histogram(is_out, score, 8)
    assert set(histogram_metrics(made, 0, 0)) == {*METRICS, ERROR}
    rows = pd.DataFrame({"a": score, "b": -score, "is_out": is_out, "unreadable": None})
    differences = auroc_differences(ScoreTable.of(rows), {"a": "a", "b": "b"}, {"a": made, "b": made}, ["a"], False)
    assert differences == {"a": {}, "b": {"auroc_minus_a": 0.0}}

"""Metrics of several scores."""

import json
import math

import numpy as np
import pytest

from glow_pipeline.outliers.bootstrap import intervals, resampled_metrics
from glow_pipeline.outliers.metrics import METRICS, detection_metrics
from glow_pipeline.outliers.score_metrics import score_metrics
from glow_pipeline.outliers.scores import SCORES, Score
from tests.outliers.four_images import IS_OUT, VALUES
from tests.outliers.toy_scores import Brightness


def test_main_score_has_plain_metric_names() -> None:
    got = score_metrics([SCORES["nll"]], VALUES, IS_OUT, 0, 0)
    assert got == {
        "main_score": "nll",
        **detection_metrics(IS_OUT, VALUES["nll_bits_per_dim"]),
        "in_bits_per_dim": 1.5,
        "out_bits_per_dim": 3.0,
        "n_not_finite_in": 0,
        "n_not_finite_out": 1,
    }


def test_intervals_are_those_of_the_resamples(brightness: Brightness) -> None:
    scores = [brightness, SCORES["nll"]]
    got = score_metrics(scores, VALUES, IS_OUT, 50, 7)
    columns = {score.name: VALUES[score.column] for score in scores}
    resampled = resampled_metrics(IS_OUT, columns, 50, 7)
    for metric in METRICS:
        limits = intervals({metric: resampled["brightness"][metric]})
        assert limits.items() <= got.items()
        limits = intervals({f"{metric}": resampled["nll"][metric]})
        assert {f"{key}.nll": value for key, value in limits.items()}.items() <= got.items()


def test_differences_of_auroc_are_paired(control: Score) -> None:
    nll = SCORES["nll"]
    values = {**VALUES, control.column: VALUES["nll_bits_per_dim"].copy()}
    got = score_metrics([control, nll], values, IS_OUT, 50, 0)
    assert [got[f"auroc_minus_nll{end}"] for end in ("", "_low", "_high")] == [0, 0, 0], "the same order of images"
    assert got["auroc_minus_complexity.nll"] == 0
    assert not {"auroc_minus_complexity", "auroc_minus_nll.nll"} & got.keys()
    random = np.random.default_rng(0)
    is_out = np.arange(90) >= 50
    values = {"nll_bits_per_dim": random.normal(size=90) + is_out, control.column: random.normal(size=90)}
    got = score_metrics([nll, control], values, is_out, 200, 0)
    minus, low, high, turned, turned_high, first, second = (
        float(str(got[key]))
        for key in (
            "auroc_minus_complexity",
            "auroc_minus_complexity_low",
            "auroc_minus_complexity_high",
            "auroc_minus_nll.complexity",
            "auroc_minus_nll_high.complexity",
            "auroc",
            "auroc.complexity",
        )
    )
    assert (minus, turned) == (first - second, second - first)
    assert low < minus < high
    assert low == pytest.approx(-turned_high)


def test_metrics_are_valid_json(brightness: Brightness) -> None:
    infinite = {name: np.full(4, math.inf) for name in VALUES}
    metrics = score_metrics([SCORES["nll"], brightness], infinite, IS_OUT, 5, 0)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_other_scores_add_metrics_with_their_name(brightness: Brightness) -> None:
    alone = score_metrics([SCORES["nll"]], VALUES, IS_OUT, 0, 0)
    both = score_metrics([SCORES["nll"], brightness], VALUES, IS_OUT, 0, 0)
    assert alone.items() <= both.items()
    assert both["auroc.brightness"] == 0.0
    assert both["in_levels.brightness"] == 3.5
    turned = score_metrics([brightness, SCORES["nll"]], VALUES, IS_OUT, 0, 0)
    assert turned["auroc"] == 0.0
    assert turned["auroc.nll"] == 1.0

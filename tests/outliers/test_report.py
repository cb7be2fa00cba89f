import json
import math
import re
from collections.abc import Iterator

import numpy as np
import pytest

from glow_pipeline.outliers.bootstrap import intervals, resampled_metrics
from glow_pipeline.outliers.metrics import METRICS, detection_metrics
from glow_pipeline.outliers.report import (
    compared_with,
    lines_of_scores,
    metric_name,
    score_metrics,
    scores_in,
    tracked_metrics,
    warnings_of_scores,
)
from glow_pipeline.outliers.scores import SCORES, Score
from tests.outliers.toy_scores import Brightness, registered

IS_OUT = np.array([False, False, True, True])
VALUES = {
    "nll_bits_per_dim": np.array([1.0, 2.0, 3.0, math.inf]),
    "brightness_levels": np.array([4.0, 3.0, 2.0, 1.0]),
}
COMPARED = {"n_in": 2, "n_out": 2, "in_dataset": "digits", "out_dataset": "textures"}


@pytest.fixture
def brightness() -> Iterator[Brightness]:
    score = Brightness()
    with registered(score):
        yield score


@pytest.fixture
def control() -> Score:
    return SCORES["complexity"]


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


def test_references_come_first_in_comparisons(brightness: Brightness, control: Score) -> None:
    nll = SCORES["nll"]
    assert compared_with([control, brightness, nll]) == [nll, brightness]
    assert compared_with([nll, brightness, control]) == [control, brightness]
    assert compared_with([nll]) == []


def test_metrics_are_valid_json(brightness: Brightness) -> None:
    infinite = {name: np.full(4, math.inf) for name in VALUES}
    metrics = score_metrics([SCORES["nll"], brightness], infinite, IS_OUT, 5, 0)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_mlflow_gets_few_limits_of_other_scores(brightness: Brightness) -> None:
    scores = [SCORES["nll"], brightness]
    metrics = {**score_metrics(scores, VALUES, IS_OUT, 5, 0), **COMPARED}
    tracked = tracked_metrics(metrics)
    assert {"auroc", "auroc_low", "aupr_in_high", "n_in", "auroc.brightness", "auroc_low.brightness"} <= tracked.keys()
    assert {"aupr_out.brightness", "auroc_minus_nll.brightness", "in_levels.brightness"} <= tracked.keys()
    assert {key for key in metrics.keys() - tracked.keys() if not isinstance(metrics[key], str)} == {
        f"{metric}{end}.brightness" for metric in (*METRICS[1:], "auroc_minus_nll") for end in ("_low", "_high")
    }
    assert tracked_metrics({"test_bits_per_dim": 2.0, "dataset": "digits"}) == {"test_bits_per_dim": 2.0}


def test_other_scores_add_metrics_with_their_name(brightness: Brightness) -> None:
    alone = score_metrics([SCORES["nll"]], VALUES, IS_OUT, 0, 0)
    both = score_metrics([SCORES["nll"], brightness], VALUES, IS_OUT, 0, 0)
    assert alone.items() <= both.items()
    assert both["auroc.brightness"] == 0.0
    assert both["in_levels.brightness"] == 3.5
    turned = score_metrics([brightness, SCORES["nll"]], VALUES, IS_OUT, 0, 0)
    assert turned["auroc"] == 0.0
    assert turned["auroc.nll"] == 1.0


def test_scores_are_found_in_metrics(brightness: Brightness) -> None:
    nll = SCORES["nll"]
    assert scores_in({"test_bits_per_dim": 2.0}) == []
    assert scores_in({"auroc": 0.5}) == [nll], "metrics of earlier versions name no score"
    assert scores_in(score_metrics([brightness, nll], VALUES, IS_OUT, 0, 0)) == [brightness, nll]
    assert scores_in({"auroc": 0.5, "main_score": "of_a_file_that_is_gone"}) == []


def test_lines_of_each_score(brightness: Brightness) -> None:
    assert lines_of_scores({"test_bits_per_dim": 2.0}) == {}
    lines = lines_of_scores(score_metrics([SCORES["nll"], brightness], VALUES, IS_OUT, 0, 0))
    assert list(lines) == ["auroc", "aupr_out", "aupr_in", "fpr_at_95_tpr", "auroc.brightness"]
    assert lines["auroc"] == "AUROC of nll (negative log-likelihood), outliers positive"
    assert lines["auroc.brightness"] == "AUROC of brightness"


def test_other_scores_are_listed_best_first(brightness: Brightness, control: Score) -> None:
    values = {**VALUES, control.column: np.array([1.0, 3.0, 2.0, 4.0])}
    lines = lines_of_scores(score_metrics([brightness, control, SCORES["nll"]], values, IS_OUT, 20, 0))
    assert list(lines)[-2:] == ["auroc.nll", "auroc.complexity"]
    assert lines["auroc"] == "AUROC of brightness (mean brightness), outliers positive, 95% interval 0.0000 to 0.0000"
    assert re.fullmatch(r"AUROC of complexity \(0\.\d{4} to 1\.0000\)", lines["auroc.complexity"])


def test_of_many_others_best_and_worst_are_listed() -> None:
    scores = [score for name, score in SCORES.items() if name != "nll"][:8]
    metrics = {metric_name("auroc", score, SCORES["nll"]): 0.9 - i / 10 for i, score in enumerate(scores)}
    lines = lines_of_scores({"main_score": "nll", "auroc": 0.5, **metrics})
    assert list(lines)[4:] == [f"auroc.{scores[i].name}" for i in (0, 1, 2, 3, 4, 7)]
    assert lines[f"auroc.{scores[7].name}"] == (
        f"AUROC of {scores[7].name}, the lowest of 8 others; ood_metrics has all"
    )


@pytest.mark.parametrize(
    ("auroc", "low", "says"), [(0.9, 0.01, False), (0.9, -0.01, True), (0.8, None, True), (0.9, None, False)]
)
def test_control_as_good_is_reported(auroc: float, low: float | None, says: bool, control: Score) -> None:
    metrics: dict[str, object] = {
        "main_score": "nll",
        "auroc": auroc,
        "auroc.complexity": 0.85,
        "auroc_minus_complexity": auroc - 0.85,
    }
    if low is not None:
        metrics |= {"auroc_minus_complexity_low": low, "auroc_minus_complexity_high": 0.07}
    warnings = warnings_of_scores(metrics)
    assert len(warnings) == says
    if says:
        assert warnings[0].startswith("On this pair the model adds nothing over a file size, as far as these images ")
        assert "complexity alone has AUROC 0.8500, nll minus complexity is " in warnings[0]
        assert ("(-0.0100 to 0.0700)" in warnings[0]) == (low is not None)


def test_control_as_main_score_is_not_compared(control: Score) -> None:
    values = {**VALUES, control.column: VALUES["nll_bits_per_dim"]}
    metrics = score_metrics([control, SCORES["nll"]], values, IS_OUT, 5, 0)
    assert not any("adds nothing" in line for line in warnings_of_scores({**metrics, **COMPARED}))


def test_warnings_of_equal_meaning_are_one_line(brightness: Brightness) -> None:
    values = {"brightness_levels": np.array([4.0, 3.0, 2.0, math.inf]), "typical": np.array([4.0, 3.0, 2.0, math.nan])}
    typicality = SCORES["typicality"]
    metrics = score_metrics([brightness, typicality], {**values, typicality.column: values["typical"]}, IS_OUT, 0, 0)
    metrics |= {**COMPARED, "auroc": 0.4, f"auroc.{typicality.name}": 0.4}
    warnings = warnings_of_scores(metrics)
    assert warnings == [
        f"1 of 2 images of textures have a score (brightness, {typicality.name}) that is not finite (the flow "
        "overflows on them); they count as the most outlying.",
        f"An AUROC below 0.5 (brightness, {typicality.name}) means that the outliers score lower than the test images.",
    ]


def test_warnings_of_each_score(brightness: Brightness) -> None:
    scores = [SCORES["nll"], brightness]
    assert warnings_of_scores({**score_metrics(scores, VALUES, IS_OUT, 0, 0), **COMPARED}) == [
        "1 of 2 images of textures have a score (nll) that is not finite (the flow overflows on them); they count as "
        "the most outlying.",
        "An AUROC below 0.5 (brightness) means that the outliers score lower than the test images.",
    ]
    low = {"nll_bits_per_dim": -VALUES["nll_bits_per_dim"]}
    assert warnings_of_scores({**score_metrics(scores[:1], low, IS_OUT, 0, 0), **COMPARED})[-1] == (
        "An AUROC below 0.5 is the likelihood's known failure: docs/outliers.md."
    )

"""Closing lines and warnings of metrics."""

import math
import re

import numpy as np
import pytest

from glow_pipeline.outliers.metric_names import metric_name
from glow_pipeline.outliers.report import lines_of_scores, warnings_of_scores
from glow_pipeline.outliers.score_metrics import score_metrics
from glow_pipeline.outliers.scores import SCORES, Score
from tests.outliers.four_images import COMPARED, IS_OUT, VALUES
from tests.outliers.toy_scores import Brightness


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

import math
from collections.abc import Iterator

import numpy as np
import pytest

from glow_pipeline.outliers.metrics import detection_metrics
from glow_pipeline.outliers.report import lines_of_scores, score_metrics, scores_in, warnings_of_scores
from glow_pipeline.outliers.scores import SCORES
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


def test_main_score_has_plain_metric_names() -> None:
    got = score_metrics([SCORES["nll"]], VALUES, IS_OUT)
    assert got == {
        "main_score": "nll",
        **detection_metrics(IS_OUT, VALUES["nll_bits_per_dim"]),
        "in_bits_per_dim": 1.5,
        "out_bits_per_dim": 3.0,
        "n_not_finite_in": 0,
        "n_not_finite_out": 1,
    }


def test_other_scores_add_metrics_with_their_name(brightness: Brightness) -> None:
    alone = score_metrics([SCORES["nll"]], VALUES, IS_OUT)
    both = score_metrics([SCORES["nll"], brightness], VALUES, IS_OUT)
    assert alone.items() <= both.items()
    assert both["auroc.brightness"] == 0.0
    assert both["in_levels.brightness"] == 3.5
    turned = score_metrics([brightness, SCORES["nll"]], VALUES, IS_OUT)
    assert turned["auroc"] == 0.0
    assert turned["auroc.nll"] == 1.0


def test_scores_are_found_in_metrics(brightness: Brightness) -> None:
    nll = SCORES["nll"]
    assert scores_in({"test_bits_per_dim": 2.0}) == []
    assert scores_in({"auroc": 0.5}) == [nll], "metrics of earlier versions name no score"
    assert scores_in(score_metrics([brightness, nll], VALUES, IS_OUT)) == [brightness, nll]
    assert scores_in({"auroc": 0.5, "main_score": "of_a_file_that_is_gone"}) == []


def test_lines_of_each_score(brightness: Brightness) -> None:
    assert lines_of_scores({"test_bits_per_dim": 2.0}) == {}
    lines = lines_of_scores(score_metrics([SCORES["nll"], brightness], VALUES, IS_OUT))
    assert list(lines) == ["auroc", "aupr_out", "aupr_in", "fpr_at_95_tpr", "auroc.brightness"]
    assert lines["auroc"] == "AUROC of the negative log-likelihood, outliers positive"
    assert lines["auroc.brightness"] == "AUROC of the mean brightness, outliers positive"


def test_warnings_of_each_score(brightness: Brightness) -> None:
    scores = [SCORES["nll"], brightness]
    assert warnings_of_scores({**score_metrics(scores, VALUES, IS_OUT), **COMPARED}) == [
        "1 of 2 images of textures have a score (nll) that is not finite (the flow overflows on them); they count as "
        "the most outlying.",
        "An AUROC below 0.5 (brightness) means that the outliers score lower than the test images.",
    ]
    low = {"nll_bits_per_dim": -VALUES["nll_bits_per_dim"]}
    assert warnings_of_scores({**score_metrics(scores[:1], low, IS_OUT), **COMPARED})[-1] == (
        "An AUROC below 0.5 is the likelihood's known failure: README, What to expect of the likelihood."
    )

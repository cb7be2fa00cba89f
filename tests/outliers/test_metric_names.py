"""Names of the metrics of several scores."""

from glow_pipeline.outliers.metric_names import compared_with, scores_in, tracked_metrics
from glow_pipeline.outliers.metrics import METRICS
from glow_pipeline.outliers.score_metrics import score_metrics
from glow_pipeline.outliers.scores import SCORES, Score
from tests.outliers.four_images import COMPARED, IS_OUT, VALUES
from tests.outliers.toy_scores import Brightness


def test_references_come_first_in_comparisons(brightness: Brightness, control: Score) -> None:
    nll = SCORES["nll"]
    assert compared_with([control, brightness, nll]) == [nll, brightness]
    assert compared_with([nll, brightness, control]) == [control, brightness]
    assert compared_with([nll]) == []


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


def test_scores_are_found_in_metrics(brightness: Brightness) -> None:
    nll = SCORES["nll"]
    assert scores_in({"test_bits_per_dim": 2.0}) == []
    assert scores_in({"auroc": 0.5}) == [nll], "metrics of earlier versions name no score"
    assert scores_in(score_metrics([brightness, nll], VALUES, IS_OUT, 0, 0)) == [brightness, nll]
    assert scores_in({"auroc": 0.5, "main_score": "of_a_file_that_is_gone"}) == []

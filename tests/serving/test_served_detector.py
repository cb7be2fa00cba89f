"""Verdicts of the served model: those of the judge, whatever else is in a request or sent meanwhile."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from mlflow.pyfunc.model import PythonModelContext
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.images.content import content_hash
from glow_pipeline.outliers.detector_file import write_detector
from glow_pipeline.outliers.scores import Score
from glow_pipeline.serving.request import RefusedRequestError
from glow_pipeline.serving.served_detector import DETECTOR, MODEL, ServedDetector, Verdict
from glow_pipeline.training.model_file import write_model
from glow_pipeline.verdict import Judge
from tests.conftest import random_images
from tests.outliers.toy_scores import registered
from tests.serving.helpers import png, small_judge

IMAGES = random_images(64)
Predict = Callable[..., list[Verdict]]


@dataclass(frozen=True)
class Overflowing(Score):
    """Not a number for images that begin with black."""

    name: ClassVar[str] = "overflowing"
    summary: ClassVar[str] = "none"
    paper: ClassVar[str] = "none"

    def describe(self, batch: ModelledBatch) -> Tensor:
        values = batch.images[:, 0, 0, 0].double()
        return torch.where(values == 0, torch.nan, values)


def served(folder: Path, judge: Judge) -> Predict:
    """Store the model and the detector of a judge, load them as MLflow does, and return `predict`."""
    model = judge.model
    files = {MODEL: folder / "model.safetensors", DETECTOR: folder / "detector.safetensors"}
    write_model(files[MODEL], model.record, model.flow.state_dict(), model.trained_on)
    write_detector(files[DETECTOR], judge.detector)
    artifacts = {name: str(file) for name, file in files.items()}
    config = {"score": judge.scores[0], "device": "cpu", "max_pixels": 1000}
    context, detector = PythonModelContext(artifacts, config), ServedDetector()
    detector.load_context(context)

    def predict(images: Sequence[Any], rate: float | None = 0.05) -> list[Verdict]:
        return detector.predict(context, list(images), {"false_alarm_rate": rate})

    return predict


@pytest.fixture
def predict(tmp_path: Path) -> Predict:
    return served(tmp_path, small_judge())


def test_served_verdicts_are_the_judges(predict: Predict) -> None:
    (judged,) = small_judge().judged([IMAGES >> 4])
    scores, files = next(iter(judged.scores.values())), [png(image) for image in IMAGES]
    order = np.random.default_rng(0).permutation(len(IMAGES))
    together = predict([files[i] for i in order])
    apart = [predict([files[i]])[0] for i in order]
    for verdicts in (together, apart):
        served_scores = np.array([verdict.score for verdict in verdicts], dtype=float)
        np.testing.assert_allclose(served_scores, scores[order], rtol=1e-6)
        assert [verdict.p_value for verdict in verdicts] == list(judged.p_values[order])
        assert [verdict.reason for verdict in verdicts] == [judged.reasons[i] for i in order]
    assert len(set(judged.p_values)) > 3


def test_verdict_follows_the_rate_of_the_request(predict: Predict) -> None:
    p_values = [verdict.p_value for verdict in predict(IMAGES)]
    for rate in (0.01, 0.3, 0.9):
        verdicts = predict(IMAGES, rate)
        assert [verdict.verdict == "outlier" for verdict in verdicts] == [p <= rate for p in p_values]
        assert {verdict.false_alarm_rate for verdict in verdicts} == {rate}


@pytest.mark.parametrize("rate", [0.0099, 0, -1, 1, float("nan"), None])
def test_impossible_rates_are_refused(predict: Predict, rate: float | None) -> None:
    with pytest.raises(RefusedRequestError, match=r"expected 0\.01 \(1 / 100, as there are 99 calibration images\)"):
        predict(IMAGES, rate)


def test_copies_of_known_images_are_named(tmp_path: Path) -> None:
    hashes = content_hash(IMAGES >> 4).numpy()
    judge = small_judge(trained_on=np.sort(hashes[:3]), calibration_hashes=np.sort(hashes[2:5]))
    verdicts = served(tmp_path, judge)(IMAGES[:7])
    expected = ["training image"] * 3 + ["calibration image"] * 2 + [None] * 2
    assert [verdict.copy_of for verdict in verdicts] == expected


def test_infinite_scores_have_no_number(tmp_path: Path) -> None:
    images = IMAGES[:2].clone()
    images[:, 0, 0, 0] = torch.tensor([0, 32])
    with registered(Overflowing()):
        first, second = served(tmp_path, small_judge("overflowing", np.arange(99.0)))(images)
    assert (first.score, first.p_value, first.verdict) == (None, 0.01, "outlier")
    assert (second.score, second.verdict) == (2, "normal")


def test_requests_at_once_are_answered_as_alone(predict: Predict) -> None:
    requests = [IMAGES[i : i + 4] for i in range(0, 64, 4)]
    expected = [predict(images) for images in requests]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(predict, requests)) == expected

"""The pipeline register: a model with its detector in MLflow's registry, once for each, and as MLflow loads it."""

import json
import logging
from pathlib import Path
from typing import Any, cast

import click
import mlflow
import numpy as np
import pytest
import torch
import yaml

from glow_pipeline.outliers.detector_file import read_detector
from glow_pipeline.serving.served_detector import Verdict
from glow_pipeline.training.model_file import read_model
from glow_pipeline.verdict import Judge
from tests.conftest import random_images
from tests.project import run, versions
from tests.serving.helpers import png

MODEL, DETECTOR = (f"06_models/digits/glow_{name}.safetensors/*/*.safetensors" for name in ("model", "detector"))


def registered(project: Path) -> list[dict[str, Any]]:
    """Return what each run of the pipeline has registered, oldest first."""
    found = versions(project, "08_reporting/digits/registered_detector.json/*/*")
    return [json.loads(path.read_text()) for path in found]


def predictions(project: Path, uri: str, images: list[Any]) -> list[Verdict]:
    """Return the verdicts of a registered model in Python, at the rate at which it was registered."""
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
    return cast(list[Verdict], mlflow.pyfunc.load_model(uri).predict(images))


def test_model_and_detector_are_registered_once(digits_project: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "glow_pipeline")
    run(digits_project, "register")
    assert "Registered as models:/glow-digits/1" in caplog.text
    run(digits_project, "register")
    assert "Registered already, as models:/glow-digits/1" in caplog.text
    first, again = registered(digits_project)
    assert first == {"name": "glow-digits", "version": "1", "uri": "models:/glow-digits/1", "new": True}
    assert again == {**first, "new": False}
    run(digits_project, "register", score={"false_alarm_rate": 0.2}, ingest={"max_pixels": 1000})
    assert registered(digits_project)[-1]["uri"] == "models:/glow-digits/2"

    (stored_model,), (stored_detector,) = (versions(digits_project, kind) for kind in (MODEL, DETECTOR))
    images = random_images(5)
    judge = Judge(read_model(stored_model), read_detector(stored_detector), torch.device("cpu"), ("nll",))
    (judged,) = judge.judged([images >> 4])
    for rate, version in ((0.05, 1), (0.2, 2)):
        verdicts = predictions(digits_project, f"models:/glow-digits/{version}", list(images.numpy()))
        scores = np.array([verdict.score for verdict in verdicts], dtype=float)
        np.testing.assert_allclose(scores, judged.scores[judge.main.column], rtol=1e-6)
        assert [verdict.p_value for verdict in verdicts] == list(judged.p_values)
        assert {verdict.false_alarm_rate for verdict in verdicts} == {rate}
    with pytest.raises(mlflow.MlflowException, match=r"^inputs\[0\]: more than 1,000 pixels"):
        predictions(digits_project, "models:/glow-digits/2", [png(random_images(1, size=(40, 40))[0])])

    folder = min(path.parent for path in (digits_project / "mlartifacts").rglob("pyfunc.py"))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    artifacts = {"artifacts/glow_model.safetensors", "artifacts/glow_detector.safetensors"}
    assert artifacts | {"pyfunc.py", "MLmodel", "input_example.json"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt"))]
    signature = yaml.safe_load((folder / "MLmodel").read_text())["signature"]
    assert json.loads(signature["params"])[0]["name"] == "false_alarm_rate"
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert f"mlflow=={mlflow.__version__}" in requirements
    assert [line for line in requirements if "/" in line or line.startswith(("-", "glow"))] == []
    tags = mlflow.MlflowClient().get_model_version("glow-digits", "1").tags
    assert (tags["model"], tags["detector"]) == (stored_model.parent.name, stored_detector.parent.name)
    assert tags["weights_sha256"] == judge.detector.record.model_sha256


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        (
            {"score": {"false_alarm_rate": 0.01}},
            r"^score\.false_alarm_rate=0\.01: needs 99 calibration images at least",
        ),
        ({"ood": {"score": "waic"}}, "^ood.score=waic: waic compares with other models"),
    ],
)
def test_models_that_cannot_judge_are_not_registered(
    digits_project: Path, parameters: dict[str, Any], line: str
) -> None:
    with pytest.raises(click.ClickException, match=line):
        run(digits_project, "register", **parameters)
    assert not registered(digits_project)


def test_without_mlflow_nothing_is_registered(digits_project: Path) -> None:
    (digits_project / "conf" / "local").mkdir(exist_ok=True)
    (digits_project / "conf" / "local" / "mlflow.yml").write_text("enabled: false\n")
    with pytest.raises(click.ClickException, match=r"^mlflow\.yml: enabled=false: the registry is MLflow's"):
        run(digits_project, "register")

"""Loading of a model in Python: three lines, and nothing of Kedro."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import glow_pipeline
from glow_pipeline import load_model
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.detector_file import write_detector
from glow_pipeline.training.model_file import write_model
from glow_pipeline.training.stored_detectors import DETECTOR_FILE
from glow_pipeline.verdict.image_detector import ImageDetector
from glow_pipeline.verdict.judge import Judge
from tests.api.models import stored_model
from tests.conftest import random_images
from tests.verdict.judges import full_judge

THREE_LINES = """
import sys
from glow_pipeline import load_model
model = load_model(sys.argv[1], device="cpu")
samples = model.sample(4)
assert model.bits_per_dim(samples).shape == (4,)
assert len(model.score(samples)) == 4
print([name for name in ("kedro", "mlflow", "optuna") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def judge() -> Judge:
    return full_judge()


@pytest.fixture
def stored(tmp_path: Path, judge: Judge) -> Path:
    """A folder with a model and its detector."""
    model = judge.model
    write_model(tmp_path / "glow_model.safetensors", model.record, model.flow.state_dict(), model.trained_on)
    write_detector(tmp_path / DETECTOR_FILE, judge.detector)
    return tmp_path


def test_three_lines_import_neither_kedro_nor_mlflow(stored: Path) -> None:
    done = subprocess.run([sys.executable, "-c", THREE_LINES, stored], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_scores_and_explanations_are_the_detectors(stored: Path, judge: Judge) -> None:
    model, detector = load_model(stored, device="cpu"), ImageDetector(Judge(judge.model, judge.detector, judge.device))
    images = random_images(5).numpy()
    assert model.score(images, false_alarm_rate=0.1).equals(detector.score(images, false_alarm_rate=0.1))
    assert model.explain(images[0, 0]).reason == detector.explain(images[0, 0]).reason


def test_model_without_detector_says_what_to_do(tmp_path: Path) -> None:
    model = load_model(stored_model(tmp_path), device="cpu")
    assert np.isfinite(model.bits_per_dim(random_images(2))).all()
    with pytest.raises(GlowPipelineError, match=r"this model has no detector; make one: kedro run --pipelines calibr"):
        model.score(random_images(2))


def test_absent_models_and_devices_are_refused(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GlowPipelineError, match=r"^yours: no model; give the path"):
        load_model("yours")
    with pytest.raises(GlowPipelineError, match=r"^device=tpu: torch finds none here"):
        load_model(stored, device="tpu")


def test_package_has_no_other_names() -> None:
    assert glow_pipeline.__all__ == ["load_detector", "load_model"]
    with pytest.raises(AttributeError, match="has no attribute 'load_models'"):
        _ = glow_pipeline.load_models

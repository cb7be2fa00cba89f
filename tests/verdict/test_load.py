"""Loading of a model with its detector, by a path or a name."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import glow_pipeline
from glow_pipeline import load_detector
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.detector_file import write_detector
from glow_pipeline.training.model_file import MODEL_FILE, write_model
from glow_pipeline.training.stored_detectors import DETECTOR_FILE
from glow_pipeline.verdict.image_detector import ImageDetector
from glow_pipeline.verdict.judge import Judge
from glow_pipeline.verdict.load import find_model
from tests.conftest import random_images
from tests.project import ROOT
from tests.verdict.judges import full_judge


@pytest.fixture(scope="module")
def judge() -> Judge:
    return full_judge()


@pytest.fixture
def versions(tmp_path: Path, judge: Judge) -> Path:
    """A project with two versions of a model of the images `mine`, and the detector of both."""
    folder = tmp_path / "data" / "06_models" / "mine"
    for version in ("2026-01-01", "2026-01-02"):
        model = judge.model
        write_model(folder / MODEL_FILE / version / MODEL_FILE, model.record, model.flow.state_dict(), model.trained_on)
    write_detector(folder / DETECTOR_FILE / "2026-01-02" / DETECTOR_FILE, judge.detector)
    return folder / MODEL_FILE


def equal(detector: ImageDetector, judge: Judge) -> bool:
    images = random_images(5).numpy()
    return detector.score(images).equals(ImageDetector(judge).score(images))


def test_model_is_found_by_path_folder_and_name(
    versions: Path, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = versions / "2026-01-02"
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    for model in (newest / MODEL_FILE, newest, versions, versions.parent, str(versions.parent), "mine"):
        assert equal(load_detector(model, scores=("density_sum", "nll"), device="cpu"), judge)


def test_detector_beside_a_copied_model_is_used(versions: Path, judge: Judge, tmp_path: Path) -> None:
    copied = tmp_path / "sent"
    copied.mkdir()
    (versions / "2026-01-01" / MODEL_FILE).rename(copied / "model.safetensors")
    with pytest.raises(GlowPipelineError, match=r"model\.safetensors: this model has no detector; make one: kedro run"):
        load_detector(copied / "model.safetensors")
    write_detector(copied / DETECTOR_FILE, judge.detector)
    assert load_detector(copied / "model.safetensors", device="cpu").judge.scores == ("density_sum",)
    named = load_detector(copied / "model.safetensors", detector=copied / DETECTOR_FILE, scores=["nll"], device="cpu")
    assert named.judge.main.name == "nll"
    for wrong in ("nll", ()):
        with pytest.raises(GlowPipelineError, match=r"^scores=.*: give a list of names, such as \['density_sum'\]"):
            load_detector(copied / "model.safetensors", scores=wrong)
    with pytest.raises(GlowPipelineError, match=r"^device=tpu: torch finds none here"):
        load_detector(copied / "model.safetensors", device="tpu")


@pytest.mark.parametrize("model", ["yours", "absent/model.safetensors"])
def test_absent_model_is_refused_with_those_there_are(
    versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GlowPipelineError, match=rf"^{model}: no model; give .* \(mine\), or that of a shipped "):
        load_detector(model)


def test_own_model_comes_before_a_shipped_one(
    versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = versions.parent.rename(versions.parent.with_name("digits"))
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        found = find_model("digits")
        assert found == own / MODEL_FILE / "2026-01-02" / MODEL_FILE
        shutil.rmtree(own)
        shipped = find_model("digits")
    assert shipped == ROOT / "models" / "digits" / MODEL_FILE
    assert caplog.messages == [
        f"digits: the newest of this project, {found}",
        f"digits: the shipped one, {shipped}",
    ]


def test_package_is_imported_without_torch() -> None:
    code = "import sys, glow_pipeline; assert 'torch' not in sys.modules; print(glow_pipeline.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['load_detector', 'load_model']"
    with pytest.raises(AttributeError, match="has no attribute 'load_detectors'"):
        _ = glow_pipeline.load_detectors

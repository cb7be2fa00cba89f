"""Class-conditioned models and images of unknown classes."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.test_image_selections import refused, write_images
from tests.project import TINY, copy_project, run, versions

CONDITIONED = {**TINY["model"], "y_condition": True}
SMALL: dict[str, Any] = {"model": CONDITIONED, "train": {**TINY["train"], "batch_size": 8}, "device": "cpu"}


def folder(path: Path, **ingest: Any) -> dict[str, Any]:
    """Return the parameters that name a folder of 8x8 grey images."""
    return {"dataset": "folder", "ingest": {"path": str(path), "size": 8, "channels": 1, **ingest}}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training images of the classes a and b, test images of a to c, and others of three classes."""
    images = tmp_path_factory.mktemp("images")
    for seed, (part, names) in enumerate((("train", "ab"), ("test", "abc"), ("three", "abc"))):
        for k, name in enumerate(names):
            write_images(images / part / name, 8, 60 * k, seed=10 * seed + k)
    return images


def test_fewer_classes_than_the_folder_are_refused(tmp_path: Path, images: Path) -> None:
    project = copy_project(tmp_path, mlflow_used=False)
    two = {**CONDITIONED, "num_classes": 2}
    line = refused(project, "train", **folder(images / "three"), **{**SMALL, "model": two})
    assert line == "model.num_classes=2: folder has 3 classes; use at least 3, or null"
    ranges = {
        "train.lr": None,
        "model.K": None,
        "model.hidden_channels": None,
        "model.num_classes": {"choices": [2, 5]},
    }
    line = refused(project, "search", **folder(images / "three"), **SMALL, search={"ranges": ranges})
    assert line.startswith("model.num_classes=2: folder has 3 classes")
    assert not (project / "data/03_primary").exists()
    assert not (project / "mlflow.db").exists()


@pytest.mark.slow
def test_training_command_may_draw_a_folder_class(tmp_path: Path, images: Path) -> None:
    project = copy_project(tmp_path)
    given = {**folder(images / "three"), **SMALL}
    assert refused(project, "__default__", **given, sample={"y": 3}).startswith("sample.y=3: the model has 3 classes")
    run(project, "__default__", **given, sample={"y": 2, "n": 2})
    assert versions(project, "07_model_output/*/samples_normal.png/*/*.png")


@pytest.mark.slow
def test_class_of_test_images_alone_is_accepted(tmp_path: Path, images: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = copy_project(tmp_path)
    given = folder(images / "train", eval_path=str(images / "test"))
    with caplog.at_level(logging.WARNING):
        run(project, "train", **given, **SMALL)
    assert "8 of 24 test images are of classes that no training image has; they are scored without" in caplog.text
    metrics = json.loads(versions(project, "08_reporting/*/train_metrics.json/*/*")[-1].read_text())
    assert metrics["test_bits_per_dim_given_class"] > 0
    run(project, "sample", **given, sample={"mode": "interpolate", "n": 24, "frames": 2})
    assert versions(project, "07_model_output/*/samples_interpolate.png/*/*.gif")
    few = folder(images / "three", eval_path=str(images / "few"))
    write_images(images / "few" / "d", 3, 0, seed=77)
    run(project, "train", **few, **SMALL)
    line = refused(project, "sample", **few, sample={"mode": "interpolate"})
    said = "sample.mode=interpolate: folder_three has 0 test images of the model's classes 0 to 2 that the model"
    assert line.startswith(said)

"""Sampling modes that compare with training images, on a model of the bundled digits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glow_pipeline.images.content import content_hash
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.parameters import Parameters
from glow_pipeline.pipelines.sample.nodes import read_real_images
from glow_pipeline.training.model_file import read_model
from tests.pipelines.test_image_selections import refused, write_images
from tests.project import TINY, copy_project, run, versions


def test_training_images_are_those_of_the_model(finished_digits: Path) -> None:
    model = read_model(versions(finished_digits, "06_models/digits/glow_model.safetensors/*/*.safetensors")[-1])
    parameters = Parameters.model_validate({"sample": {"mode": "nearest"}})
    real = read_real_images(
        model, parameters.image_selection, parameters.image_format, Path(), parameters, FolderLooks()
    )
    training = real.training
    assert training is not None
    assert model.trained_on is not None
    assert model.calibration is not None
    batches = list(training.batches(100, "read"))
    hashes = np.concatenate([content_hash(batch.images).numpy() for batch in batches])
    assert np.array_equal(np.unique(hashes), model.trained_on)
    assert not np.isin(model.calibration, hashes).any()
    assert len(hashes) < len(training.labels)
    places = np.arange(5, len(training.labels), 7)
    some = list(training.batches(50, "read", places))
    labels = np.concatenate([batch.labels.numpy() for batch in some])
    expected = [hashes.tolist().index(h) for batch in some for h in content_hash(batch.images).tolist()]
    assert expected == sorted(expected)
    assert len(labels) <= len(places)
    assert not np.isin(content_hash(real.test.images).numpy(), model.trained_on).any()


def test_each_mode_writes_its_picture(digits_project: Path) -> None:
    for mode, suffixes in (("levels", {"png"}), ("nearest", {"png"}), ("attribute", {"gif", "png"})):
        run(digits_project, "sample", sample={"mode": mode, "frames": 3})
        pictures = versions(digits_project, f"07_model_output/digits/samples_{mode}.png/*/*")
        assert {picture.suffix[1:] for picture in pictures} - {"mp4"} == suffixes  # without the extra there is no MP4
        with Image.open(pictures[-1]) as picture:
            assert min(picture.size) > 400


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ({"attribute": [3]}, "sample.attribute=3: counts only with sample.mode=attribute"),
        ({"mode": "attribute", "attribute": [12]}, "sample.attribute=12: none of the training images of digits"),
        ({"mode": "attribute", "attribute": ["cats"]}, "sample.attribute=cats: no class is called cats"),
        ({"mode": "attribute", "attribute": ["0-9"]}, "all of the training images of digits are of it"),
    ],
    ids=str,
)
def test_useless_attribute_is_one_line(finished_digits: Path, sample: dict[str, object], said: str) -> None:
    assert said in refused(finished_digits, "sample", sample=sample)


@pytest.mark.slow
def test_attribute_is_a_folder_by_its_name(tmp_path: Path) -> None:
    for k, name in enumerate(("cats", "dogs", "owls")):
        write_images(tmp_path / "pets" / name, 8, 60 * k, seed=k)
    project = copy_project(tmp_path / "project")
    given: dict[str, Any] = {
        "dataset": "folder",
        "ingest": {"path": str(tmp_path / "pets"), "size": 8, "channels": 1},
        "device": "cpu",
    }
    run(project, "train", **given, model={**TINY["model"], "y_condition": True}, train=TINY["train"])
    run(project, "sample", **given, sample={"mode": "attribute", "attribute": ["dogs"], "frames": 2})
    assert versions(project, "07_model_output/*/samples_attribute.png/*/*.gif")
    line = refused(project, "sample", **given, sample={"mode": "attribute", "attribute": ["dog"]})
    assert line == "sample.attribute=dog: no class is called dog; did you mean dogs?"
    line = refused(project, "sample", **given, sample={"mode": "attribute", "attribute": ["cats", "dogs", "owls"]})
    assert line.startswith("sample.attribute=cats+dogs+owls: all of the training images of folder_pets are of it")
    flat = {**given, "ingest": {**given["ingest"], "path": str(tmp_path / "pets" / "cats")}}
    line = refused(project, "__default__", **flat, sample={"mode": "attribute"})
    assert line.startswith("sample.mode=attribute: the training images of folder_cats are of one class")
    chosen = {**given, "ingest": {**given["ingest"], "classes": ["dogs"]}}
    line = refused(project, "__default__", **chosen, sample={"mode": "attribute"})
    assert line.startswith("sample.mode=attribute: the training images of folder_pets_class_dogs are of one class")

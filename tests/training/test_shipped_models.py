"""The models in `models/`: complete, as their checksums say, and found by name."""

from pathlib import Path

import numpy as np
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.outliers.detector_file import read_detector
from glow_pipeline.training.model_file import MODEL_FILE, read_model, read_record
from glow_pipeline.training.named_model import model_at
from glow_pipeline.training.shipped_models import (
    CHECKSUMS,
    SHIPPED,
    read_checksums,
    shipped_folder,
    shipped_model,
    shipped_model_of,
    shipped_models,
    shipped_name,
)
from glow_pipeline.training.stored_detectors import DETECTOR_FILE
from glow_pipeline.verdict.load import find_detector
from tests.project import ROOT

MODELS = ROOT / SHIPPED
NAMES = sorted(folder.name for folder in MODELS.iterdir() if folder.is_dir())


def refusal(name: str) -> str:
    with pytest.raises(GlowPipelineError) as error:
        shipped_model(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_digits_are_shipped_and_all_are_listed() -> None:
    assert "digits" in NAMES
    assert list(shipped_models()) == NAMES
    files = [f"{name}/{file}" for name in NAMES for file in (DETECTOR_FILE, MODEL_FILE)]
    assert sorted(read_checksums(MODELS)) == files
    page = (MODELS / "README.md").read_text()
    assert [name for name in NAMES if f"\n| `{name}` | " not in page] == []


@pytest.mark.parametrize("name", NAMES)
def test_model_has_detector_and_card(name: str) -> None:
    model = shipped_model(name)
    assert model is not None
    card = model.with_name("README.md").read_text()
    assert read_record(model).provenance.git_commit is not None
    assert find_detector(model) == model.with_name(DETECTOR_FILE)
    assert sha256(model) in card
    assert f"--pipelines sample --params model={name}" in card
    assert "stored_model=2" not in card
    assert shipped_name(model) == name


@pytest.mark.parametrize("name", NAMES)
def test_detector_has_the_images_its_model_held_out(name: str) -> None:
    file = MODELS / name / MODEL_FILE
    model, detector = read_model(file), read_detector(find_detector(file))
    assert model.trained_on is not None
    assert model.calibration is not None
    assert np.array_equal(np.unique(detector.calibration_hashes), model.calibration)
    assert set(detector.validation_hashes) <= set(model.trained_on)  # they chose its epoch


def test_clone_of_working_directory_comes_first(clone: Path) -> None:
    assert shipped_folder() == clone / SHIPPED
    assert shipped_model("digits") == clone / SHIPPED / "digits" / MODEL_FILE
    (clone / SHIPPED / CHECKSUMS).unlink()
    assert shipped_folder() == MODELS  # of the checkout that has this package


@pytest.mark.parametrize("file", [MODEL_FILE, DETECTOR_FILE])
def test_damaged_file_is_refused(clone: Path, file: str) -> None:
    path = clone / SHIPPED / "digits" / file
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(GlowPipelineError, match="its SHA-256 is not that of"):
        model_at(path.parent)
    line = f"{path}: its SHA-256 is not that of models/SHA256SUMS; type `git checkout models/digits`"
    assert refusal("digits") == line
    path.unlink()
    assert refusal("digits").startswith(f"{path}: no such file, but it is listed in models/SHA256SUMS; type `git ch")


def test_damaged_list_is_refused_where_a_name_is_sought(clone: Path) -> None:
    (clone / SHIPPED / CHECKSUMS).write_text("<<<<<<< HEAD\n")
    assert refusal("digits").endswith("'<<<<<<< HEAD' is no checksum; type `git checkout models/SHA256SUMS`")
    assert shipped_name(clone / "data" / MODEL_FILE) is None  # commands with a model of one's own go on


def test_shipped_model_is_known_by_any_path(clone: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(clone)
    for folder in (link / SHIPPED, clone / "notebooks" / ".." / SHIPPED):
        assert shipped_name(folder / "digits" / MODEL_FILE) == "digits"
    assert shipped_name(link / SHIPPED / "digits" / DETECTOR_FILE) is None


def test_model_is_found_by_its_images() -> None:
    assert shipped_model_of("digits") == "digits"
    assert shipped_model_of("digits_class_3") is None

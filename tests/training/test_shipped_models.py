"""The models in `models/`: complete, as their checksums say, and found by name."""

import shutil
from pathlib import Path

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.parameters import parse_parameters
from glow_pipeline.training.model_file import MODEL_FILE, read_model, read_record
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.shipped_models import (
    CHECKSUMS,
    SHIPPED,
    model_at,
    named_model,
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


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the shipped model of digits, in which the working directory is."""
    (tmp_path / "pyproject.toml").touch()
    shutil.copytree(MODELS / "digits", tmp_path / SHIPPED / "digits")
    listed = (MODELS / CHECKSUMS).read_text().splitlines(keepends=True)
    (tmp_path / SHIPPED / CHECKSUMS).write_text("".join(line for line in listed if "  digits/" in line))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


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


def test_clone_of_working_directory_comes_first(clone: Path) -> None:
    assert shipped_folder() == clone / SHIPPED
    assert shipped_model("digits") == clone / SHIPPED / "digits" / MODEL_FILE
    (clone / SHIPPED / CHECKSUMS).unlink()
    assert shipped_folder() == MODELS  # of the checkout that has this package


@pytest.mark.parametrize("file", [MODEL_FILE, DETECTOR_FILE])
def test_damaged_file_is_refused(clone: Path, file: str) -> None:
    path = clone / SHIPPED / "digits" / file
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    line = f"{path}: its SHA-256 is not that of models/SHA256SUMS; type `git checkout models/digits`"
    assert refusal("digits") == line
    path.unlink()
    assert refusal("digits").startswith(f"{path}: no such file, but it is listed in models/SHA256SUMS; type `git ch")


def test_damaged_list_is_refused(clone: Path) -> None:
    (clone / SHIPPED / CHECKSUMS).write_text("<<<<<<< HEAD\n")
    assert refusal("digits").endswith("'<<<<<<< HEAD' is no checksum; type `git checkout models/SHA256SUMS`")


def test_model_is_found_by_its_images() -> None:
    assert shipped_model_of("digits") == "digits"
    assert shipped_model_of("digits_class_3") is None


def test_model_is_named_by_file_folder_or_name(clone: Path) -> None:
    model = clone / SHIPPED / "digits" / MODEL_FILE
    for text in ("digits", str(model), str(model.parent), "../models/digits"):
        assert named_model("model", text).samefile(model)
    version = clone / "kept" / MODEL_FILE / "2026-01-01"
    version.mkdir(parents=True)
    shutil.copy(model, version)
    assert model_at(clone / "kept") == model_at(version) == version / MODEL_FILE
    assert model_at(clone) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("digts", "model=digts: no shipped model has this name; did you mean digits? Known are digits"),
        ("zzz", "model=zzz: no shipped model has this name; known are digits"),
        ("a.safetensors", "model=a.safetensors: no such file; give the path of a stored .safetensors model or of its "),
        ("/nowhere/a", "model=/nowhere/a: no such file; give the path of a stored .safetensors model or of its folder"),
    ],
)
def test_unknown_model_is_refused_with_those_known(clone: Path, text: str, said: str) -> None:
    with pytest.raises(GlowPipelineError) as error:
        named_model("model", text)
    assert str(error.value).startswith(said)


def test_training_starts_from_shipped_weights() -> None:
    model = read_model(MODELS / "digits" / MODEL_FILE)
    parameters = parse_parameters({"train": {"checkpoint": "digits"}, "model": {"L": 2}})
    started = untrained_flow(parameters, model.record.image_format, 10).state_dict()
    expected = model.flow.state_dict()
    assert started.keys() == expected.keys()
    assert all(started[name].equal(expected[name]) for name in expected)

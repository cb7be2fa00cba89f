"""A stored model that is named by its file, its folder, or the name of a shipped one."""

import shutil
from pathlib import Path

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import parse_parameters
from glow_pipeline.training.model_file import MODEL_FILE, read_model
from glow_pipeline.training.named_model import model_at, named_model
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.shipped_models import SHIPPED
from tests.project import ROOT


@pytest.mark.parametrize("text", ["~nosuchuser/a", "a" * 300, "a" * 300 + ".safetensors", "a\0b"])
def test_name_that_no_file_can_have_is_refused(clone: Path, text: str) -> None:
    with pytest.raises(GlowPipelineError, match=r"no such file|no shipped model has this name"):
        named_model("model", text)


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
        ("s3://b/a.safetensors", "model=s3://b/a.safetensors: is in a bucket, and this is read from a disk; copy it "),
        ("/nowhere/a", "model=/nowhere/a: no such file; give the path of a stored .safetensors model or of its folder"),
    ],
)
def test_unknown_model_is_refused_with_those_known(clone: Path, text: str, said: str) -> None:
    with pytest.raises(GlowPipelineError) as error:
        named_model("model", text)
    assert str(error.value).startswith(said)


def test_training_starts_from_shipped_weights() -> None:
    model = read_model(ROOT / SHIPPED / "digits" / MODEL_FILE)
    parameters = parse_parameters({"train": {"checkpoint": "digits"}, "model": {"L": 2}})
    started = untrained_flow(parameters, model.record.image_format, 10).state_dict()
    expected = model.flow.state_dict()
    assert started.keys() == expected.keys()
    assert all(started[name].equal(expected[name]) for name in expected)

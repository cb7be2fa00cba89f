"""A trained model that is typed by its name or path."""

from pathlib import Path
from typing import Any

import pytest

from glow_pipeline.cli.typed_model import with_named_model
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.parameters.command_line import parse_typed
from glow_pipeline.training.model_file import MODEL_FILE, write_model
from glow_pipeline.training.shipped_models import SHIPPED
from tests.conftest import jittered_glow, model_record
from tests.project import ROOT

DIGITS = f"{SHIPPED}/digits/{MODEL_FILE}"


@pytest.fixture(autouse=True)
def in_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def expanded(typed: str) -> dict[str, Any]:
    return with_named_model(parse_typed([typed]))


def store(path: Path, selection: ImageSelection) -> Path:
    """Store a model of these images."""
    record = model_record()
    table = record.train_table.model_copy(update={"image_selection": selection})
    changed = record.model_copy(update={"dataset": selection.key, "train_table": table})
    write_model(path, changed, jittered_glow().state_dict())
    return path


def test_name_stands_for_images_and_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert expanded("model=digits,sample.n=4,seed=2") == {
        "dataset": "digits",
        "ingest": {"classes": None},  # whatever a preset has
        "stored_model": DIGITS,
        "sample": {"n": 4},
        "seed": 2,
    }
    assert capsys.readouterr().err == f"model=digits stands for dataset=digits,stored_model={DIGITS}\n"


@pytest.mark.parametrize(
    "typed", ["", "seed=1", "model.K=2", "model={K: 2}", "search.ranges={train.lr: {low: 1, high: 2}}"]
)
def test_other_parameters_stay(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert expanded(typed) == parse_typed([typed])
    assert capsys.readouterr().err == ""


def test_parameters_beside_it_stay_as_typed() -> None:
    ranges = "search.ranges={train.lr: {low: 1, high: 2}}"
    assert expanded(f"model=digits,{ranges}")["search"] == parse_typed([ranges])["search"]
    assert expanded("model=digits,dataset=digits,ingest.num_workers=0") == {
        "dataset": "digits",
        "ingest": {"num_workers": 0, "classes": None},
        "stored_model": DIGITS,
    }


def test_null_beside_it_names_no_other_model() -> None:
    assert expanded("model=digits,stored_model=null,score.model=null")["stored_model"] == DIGITS


def test_path_stands_for_its_classes(tmp_path: Path) -> None:
    model = store(tmp_path / "three.safetensors", ImageSelection.of("digits", [3, 5]))
    wanted = {"dataset": "digits", "ingest": {"classes": [3, 5]}, "stored_model": str(model)}
    assert expanded(f"model={model}") == wanted
    assert expanded(f"model={model},ingest.classes=3+5")["stored_model"] == str(model)
    with pytest.raises(GlowPipelineError, match=r"ingest\.classes=3: model=.* is a model of digits_class_3_5; leave "):
        expanded(f"model={model},ingest.classes=3")


def test_model_of_a_folder_needs_no_folder(tmp_path: Path) -> None:
    selection = ImageSelection.of_folder("/gone/lungs", None, 10.0, 0, ["normal"])
    model = store(tmp_path / MODEL_FILE, selection)
    assert expanded(f"model={tmp_path}") == {
        "dataset": "folder",
        "ingest": {"name": "lungs", "classes": ["normal"]},
        "stored_model": str(model),
    }
    assert expanded(f"model={tmp_path},ingest.path=/here")["ingest"]["path"] == "/here"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("model=digits,dataset=mnist", "--params: dataset=mnist: model=digits is a model of digits; leave dataset out"),
        ("model=digits,dataset=folder,ingest.name=a", "--params: dataset=folder,ingest.name=a: model=digits is a "),
        ("model=digits,ingest.classes=3", "--params: ingest.classes=3: model=digits is a model of digits; leave "),
        ("model=digits,dataset=mnst", "--params: dataset=mnst: model=digits is a model of digits; leave dataset out"),
        ("model=digits,stored_model=y", "--params: stored_model=y: model=digits names a model too; leave one out"),
        ("model=digits,score.model=y", "--params: score.model=y: model=digits names a model too; leave one out"),
        ("model=digits,model.K=3", "--params: model.K=3: model=digits is a trained model, which has its own; leave "),
        ("model=digts", "model=digts: no shipped model has this name; did you mean digits?"),
    ],
)
def test_contradiction_is_one_line(typed: str, said: str) -> None:
    with pytest.raises(GlowPipelineError) as error:
        expanded(typed)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)

"""The card of a model that the real pipelines have trained and scored with."""

import re
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from glow_pipeline.datasets import ModelCardDataset
from glow_pipeline.training.model_card.results import TrainingResult
from glow_pipeline.training.model_digest import stored_weights_sha256
from tests.project import kedro_run, session, versions

MODELS = "06_models/digits/glow_model.safetensors/*/*.safetensors"
QUICK = "ood.scores=nll,ood.bootstrap=20"


def card_of(model: Path) -> str:
    return model.with_name("README.md").read_text("utf-8")


def test_card_of_a_finished_run_is_complete(finished_digits: Path) -> None:
    (model,) = versions(finished_digits, MODELS)
    page = card_of(model)
    training = TrainingResult.model_validate_json((model.parent / "results" / "training.json").read_bytes())
    assert training.weights_sha256 == stored_weights_sha256(model)
    assert f"| test | {training.test_bits_per_dim:.4f} | 297 |" in page
    assert "| textures | `density_sum` | " in page
    assert "CC BY 4.0" in yaml.safe_load(page.split("---\n")[1])["license_name"]
    with Image.open(model.with_name("samples.png")) as picture:
        assert picture.size[0] > 300
    assert not list(model.parent.glob(".*README*"))


def test_later_command_adds_its_figures(digits_project: Path) -> None:
    (model,) = versions(digits_project, MODELS)
    before = card_of(model)
    kedro_run(digits_project, "--env", "digits", "--pipelines", "ood", "--params", f"{QUICK},ood.out_classes=0")
    after = card_of(model)
    assert "| textures_class_0 | `nll` | " in after
    assert [line for line in before.splitlines() if line not in after.splitlines()] == []


def test_card_is_loaded_from_the_catalog(digits_project: Path) -> None:
    (model,) = versions(digits_project, MODELS)
    with session(digits_project, "digits") as created:
        catalog = created.load_context().catalog
        dataset = catalog["model_card"]
        assert isinstance(dataset, ModelCardDataset)
        card = catalog.load("model_card")
    assert card.markdown == card_of(model)
    assert card.samples_png == model.with_name("samples.png").read_bytes()
    assert card.version == model.parent.name


def test_node_makes_an_older_models_card(digits_project: Path) -> None:
    (model,) = versions(digits_project, MODELS)
    version, page = model.parent.name, card_of(model)
    model.with_name("README.md").unlink()
    named = ["--nodes", "write_model_card", "--load-versions", f"glow_model:{version},train_metrics:{version}"]
    kedro_run(digits_project, "--env", "digits", "--pipelines", "train", *named)
    assert card_of(model) == page
    assert len(versions(digits_project, "06_models/digits/glow_model.safetensors/*")) == 1


def test_python_on_the_card_runs(digits_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model,) = versions(digits_project, MODELS)
    (block,) = re.findall(r"```python\n(.*?)```", card_of(model), flags=re.DOTALL)
    (model.parent / "my_images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(model.parent / "my_images" / "one.png")
    names: dict[str, object] = {}
    with chdir(model.parent):
        exec(block.replace("false_alarm_rate=0.01", "false_alarm_rate=0.05"), names)  # of 75 calibration images
    assert {"model", "detector"} <= set(names)

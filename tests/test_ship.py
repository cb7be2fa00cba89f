"""`benchmarks/ship.py` on a tiny model: what goes into `models/`, and what does not."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.outliers.detector_file import write_detector
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.model_card import ModelCard
from glow_pipeline.training.model_card.folder import add_detection, write_card
from glow_pipeline.training.model_card.page import MADE_BY
from glow_pipeline.training.model_file import MODEL_FILE, write_model
from glow_pipeline.training.named_model import model_at
from glow_pipeline.training.shipped_models import CHECKSUMS
from glow_pipeline.training.stored_detectors import DETECTOR_FILE
from tests.project import ROOT
from tests.training.model_card.test_page import TRAINING, detection
from tests.verdict.judges import nll_judge

COMMITTED = Provenance(kedro_session="session", git_commit="ab" * 20, git_dirty=False, command="kedro run")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("ship")


@pytest.fixture
def models(tmp_path: Path, script: Any) -> Path:
    """A folder of shipped models, still empty."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "README.md").write_text(f"before\n{script.BEGIN}old{script.END}after\n")
    return tmp_path / "models"


def stored(folder: Path, **provenance: object) -> Path:
    """Store a model of digits with detector, card and figures as a training does, and return its file."""
    judge = nll_judge()
    record = judge.model.record
    table = record.train_table.model_copy(update={"image_selection": ImageSelection.of("digits")})
    made_in = COMMITTED.model_copy(update=provenance)
    record = record.model_copy(update={"dataset": "digits", "train_table": table, "provenance": made_in})
    model = folder / MODEL_FILE / "session" / MODEL_FILE
    write_model(model, record, judge.model.flow.state_dict())
    write_detector(folder / DETECTOR_FILE / "session" / DETECTOR_FILE, judge.detector)
    write_card(model.parent, ModelCard(MADE_BY, b"png", TRAINING, "session"))
    add_detection(model, detection())
    return model


def test_model_is_shipped_with_all_that_belongs_to_it(script: Any, models: Path, tmp_path: Path) -> None:
    stored(tmp_path / "data")
    model = model_at(tmp_path / "data")
    assert model is not None
    shipped = script.ship("mine", model, models)
    script.write_list(models)
    names = [DETECTOR_FILE, MODEL_FILE, "README.md", "results", "samples.png"]
    assert sorted(path.name for path in shipped.iterdir()) == sorted(names)
    card = (shipped / "README.md").read_text()
    assert "kedro run --pipelines sample --params model=mine\n" in card
    assert "stored_model=session" not in card
    assert "written again" not in card
    page = (models / "README.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "| `mine` | digits, handwritten digits, 1x8x8, 4 bits | 1.5000 (297 images, epoch 1 of " in page
    assert "| textures 0.7500 (`nll`) |" in page
    assert "CC BY 4.0" in page
    if sys.platform == "linux":
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS], cwd=models, check=True)


def test_shipping_again_replaces(script: Any, models: Path, tmp_path: Path) -> None:
    model = stored(tmp_path / "data")
    for name in ("mine", "mine", "other"):
        shipped = script.ship(name, model, models)
        (shipped / "results" / "older.json").touch()
        script.write_list(models)
    assert not (script.ship("mine", model, models) / "results" / "older.json").exists()
    assert (models / CHECKSUMS).read_text().count(f"/{MODEL_FILE}\n") == 2
    assert (models / "README.md").read_text().count("| `mine` |") == 1


@pytest.mark.parametrize(
    ("provenance", "said"),
    [
        ({"git_commit": None}, "the commit that trained it was not recorded; train it in a clone, or add --force"),
        ({"git_dirty": True}, "it was trained with uncommitted changes to ababababab; commit them, and train it again"),
        ({"command": f"kedro run --config {Path.home()}/run.yml"}, f"its files name {Path.home()} on this machine"),
    ],
)
def test_untraceable_model_is_shipped_by_force_alone(
    script: Any, models: Path, tmp_path: Path, provenance: dict[str, object], said: str
) -> None:
    model = stored(tmp_path / "data", **provenance)
    with pytest.raises(GlowPipelineError) as error:
        script.ship("mine", model, models)
    assert str(error.value).startswith(f"{model}: {said}")
    assert not (models / "mine").exists()
    assert script.ship("mine", model, models, force=True).is_dir()


def test_name_with_other_characters_is_refused(script: Any, models: Path, tmp_path: Path) -> None:
    for name in ("../mine", "Mine", "a b", ""):
        with pytest.raises(GlowPipelineError, match="should be a name of small letters, digits, - and _"):
            script.ship(name, tmp_path / MODEL_FILE, models)


def test_shipped_model_is_not_shipped_onto_itself(script: Any, models: Path, tmp_path: Path) -> None:
    shipped = script.ship("mine", stored(tmp_path / "data"), models) / MODEL_FILE
    with pytest.raises(GlowPipelineError, match="is shipped as mine already"):
        script.ship("mine", shipped, models)
    assert shipped.is_file()

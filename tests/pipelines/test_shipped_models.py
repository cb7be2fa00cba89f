"""Commands that use a shipped model, as users type them in a fresh clone."""

from pathlib import Path

import click
import pandas as pd
import pytest
from PIL import Image

from glow_pipeline import load_detector, load_model
from glow_pipeline.outliers.detector_file import read_detector_record
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.training.shipped_models import SHIPPED
from glow_pipeline.training.stored_detectors import DETECTOR_FILE
from glow_pipeline.verdict import columns
from tests.hooks.helpers import runs
from tests.images.pictures import noise
from tests.project import ROOT, copy_project, files_below, kedro, kedro_run, versions

MODEL = "digits"
DETECTOR = ROOT / SHIPPED / MODEL / DETECTOR_FILE
with_its_codecs = pytest.mark.skipif(
    read_detector_record(DETECTOR)[0].codecs != codec_versions(), reason="its detector was made with other codecs"
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project as it is cloned, with the models of the repository."""
    project = copy_project(tmp_path / "clone")
    (project / SHIPPED).symlink_to(ROOT / SHIPPED)
    return project


def shipped() -> list[tuple[Path, int]]:
    """Every file in `models/`, and when it was changed."""
    return [(path, path.stat().st_mtime_ns) for path in files_below(ROOT / SHIPPED)]


def test_clone_draws_samples_without_training(clone: Path) -> None:
    before = shipped()
    done = kedro(clone, "run", "--pipelines", "sample", "--params", f"model={MODEL},sample.n=4,train.threads=1")
    assert done.returncode == 0, done.stderr
    assert f"model={MODEL} stands for dataset=digits,stored_model=models/digits/glow_model.safetensors" in done.stderr
    assert f"(shipped as {MODEL})" in done.stdout
    assert len(versions(clone, "07_model_output/digits/samples_normal.png/*/*")) == 1
    assert versions(clone, "06_models/**/*") == []
    (run,) = runs(clone)
    assert f"model={MODEL},sample.n=4" in run.data.tags["mlflow.note.content"]
    assert (run.info.run_name or "").startswith(f"sample digits stored_model={MODEL} ")
    assert shipped() == before


@with_its_codecs
def test_clone_judges_files_without_training(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for i in range(3):
        Image.fromarray(noise(8, 8)).save(tmp_path / "scans" / f"{i}.png")
    judged = f"model={MODEL},score.images={tmp_path}/scans,ood.score=density_sum"
    kedro_run(clone, "--pipelines", "score", "--params", f"{judged},score.heatmaps=none,ingest.num_workers=0")
    (table,) = versions(clone, "07_model_output/digits/score_scans/scored_files.csv/*/*")
    read = pd.read_csv(table)
    assert len(read) == 3
    assert read[columns.P_VALUE].between(0, 1, inclusive="right").all()


def test_ood_leaves_the_shipped_card_alone(clone: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = shipped()
    kedro_run(clone, "--pipelines", "ood", "--params", f"model={MODEL},ingest.num_workers=0")
    assert len(versions(clone, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")) == 1
    assert shipped() == before
    assert "card" not in caplog.text


def test_training_is_pointed_to_its_parameter(clone: Path) -> None:
    with pytest.raises(click.ClickException) as error:
        kedro_run(clone, "--pipelines", "train", "--params", f"model={MODEL}")
    assert error.value.message == (
        f"model={MODEL}: this command uses no stored model; leave it out (to start a training from it, type "
        f"train.checkpoint={MODEL})"
    )


@with_its_codecs
def test_python_takes_the_name(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone)
    samples = load_model(MODEL, device="cpu").sample(2)
    assert len(load_detector(MODEL, device="cpu").score(samples)) == 2


@pytest.mark.slow
def test_training_starts_from_a_shipped_model(clone: Path) -> None:
    typed = f"train.checkpoint={MODEL},train.n_epochs=1,train.lr=0.00001"
    kedro_run(clone, "--env", "digits", "--pipelines", "train", "--params", typed)
    (card,) = versions(clone, "06_models/digits/glow_model.safetensors/*/README.md")
    assert f"| started from | `models/{MODEL}/glow_model.safetensors sha256:" in card.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "typed",
    [
        ("calibrate", ""),
        ("register", ""),
        ("benchmark", ",benchmark.out_datasets=textures"),
        ("sample", ",sample.mode=interpolate"),
    ],
)
def test_other_commands_take_the_name(clone: Path, typed: tuple[str, str]) -> None:
    before = shipped()
    kedro_run(clone, "--pipelines", typed[0], "--params", f"model={MODEL}{typed[1]}")
    assert shipped() == before

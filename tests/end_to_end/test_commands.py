"""The commands as users type them."""

import json
import shlex
import shutil
from pathlib import Path

import click
import pandas as pd
import pytest
from PIL import Image

from tests.project import TINY_COMMAND, copy_project, files_below, kedro, kedro_run, versions
from tests.test_pipeline_registry import IN_ORDER

SCORES = "07_model_output/digits/vs_textures/ood_scores.parquet/*/*"
METRICS = "08_reporting/digits/vs_textures/ood_metrics.json/*/*"
MODELS = "06_models/digits/glow_model.safetensors/*/*.safetensors"


def newest_metrics(project: Path) -> dict[str, object]:
    metrics: dict[str, object] = json.loads(versions(project, METRICS)[-1].read_text())
    return metrics


def test_default_run_makes_and_lists_every_artifact(finished_digits: Path) -> None:
    printed = (finished_digits / "printed.out").read_text()
    for name in (
        "glow_model",
        "samples",
        "train_metrics",
        "training_curves",
        "ood_scores",
        "ood_metrics",
        "ood_images",
    ):
        line = next(line for line in printed.splitlines() if line.split()[:1] == [name])
        assert (finished_digits / line.split()[1]).is_file()
    assert "bits/dim on test images" in printed
    assert "AUROC" in printed
    assert len(printed.splitlines()) <= 45


def test_default_run_prints_no_warnings(finished_digits: Path) -> None:
    printed = (finished_digits / "printed.err").read_text().splitlines()
    lines = [line for line in printed if line.strip() and "%|" not in line]  # no bar of what takes long
    assert [line.partition(":")[0] for line in lines] == ["Images", "Model", "Steps", "Stop"]


def test_score_table_has_a_row_per_test_image(finished_digits: Path) -> None:
    scores = pd.read_parquet(versions(finished_digits, SCORES)[-1])
    assert (~scores["is_out"]).sum() == 297
    assert scores["is_out"].sum() == 612
    assert scores["nll_bits_per_dim"].notna().all()
    metrics = newest_metrics(finished_digits)
    assert metrics["images"] == "1x8x8_4bit_resize"
    assert metrics["in_bits_per_dim.nll"] == pytest.approx(scores.loc[~scores["is_out"], "nll_bits_per_dim"].mean())


@pytest.mark.slow
def test_older_model_scores_by_load_versions(digits_project: Path) -> None:
    (model,) = versions(digits_project, MODELS)
    older = model.parent.name
    by_older = newest_metrics(digits_project)
    kedro_run(digits_project, "--tags", "ingest,training", "--params", f"{TINY_COMMAND[-1]},seed=1")
    kedro_run(digits_project, "--pipelines", "ood")
    by_newest = newest_metrics(digits_project)
    kedro_run(digits_project, "--pipelines", "ood", "--load-versions", f"glow_model:{older}")
    again = newest_metrics(digits_project)
    assert again["model_session"] == by_older["model_session"] == older
    assert by_newest["model_session"] != older
    assert again["auroc"] == by_older["auroc.nll"] != by_newest["auroc"]


@pytest.mark.slow
def test_calibrate_makes_the_detector_that_ood_reads(digits_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    detectors = digits_project / "data" / "06_models" / "digits" / "glow_detector.safetensors"
    (by_training,) = detectors.iterdir()
    before = newest_metrics(digits_project)
    assert before["detector_session"] == by_training.name
    shutil.rmtree(by_training)
    params = "ood.scores=typicality+complexity,ood.score=density_sum,ood.bootstrap=1000,train.threads=1"
    with pytest.raises(click.ClickException, match=r"^ood.scores=.* the model has no detector yet") as refused:
        kedro_run(digits_project, "--pipelines", "ood", "--params", params)
    _, *typed = shlex.split(refused.value.message.partition("`kedro ")[2].rstrip("`"))
    kedro_run(digits_project, *typed[:-1], f"{typed[-1]},train.threads=1")
    capsys.readouterr()
    kedro_run(digits_project, "--pipelines", "ood", "--params", params)
    (by_calibrate,) = detectors.iterdir()
    again = newest_metrics(digits_project)
    assert again["detector_session"] == by_calibrate.name
    assert {name for name in again if name != "detector_session" and again[name] != before[name]} == set()
    printed = capsys.readouterr().out
    assert f"Detector {by_calibrate.name}: fitted on 75 images, calibrated with 75 others" in printed


@pytest.mark.parametrize("mode", ["interpolate", "vtemp"])
def test_animated_modes_write_a_movie(digits_project: Path, mode: str) -> None:
    kedro_run(digits_project, "--pipelines", "sample", "--params", f"sample.mode={mode},sample.frames=5")
    with Image.open(versions(digits_project, f"07_model_output/digits/samples_{mode}.png/*/*.gif")[-1]) as movie:
        assert getattr(movie, "n_frames", 1) == 8  # five there, three back
    assert versions(digits_project, f"07_model_output/digits/samples_{mode}.png/*/*.png")


def test_wrong_parameter_is_one_line(tmp_path: Path) -> None:
    fresh = copy_project(tmp_path, mlflow_used=False)
    before = files_below(fresh / "data")
    done = kedro(fresh, "run", "--pipeline", "train", "--params", "model.hiden_channels=32")
    assert done.returncode != 0
    line = "model.hiden_channels=32: unknown parameter; did you mean model.hidden_channels?"
    assert done.stderr.strip() == f"Error: {line}"
    assert done.stdout.strip() == ""
    assert files_below(fresh / "data") == before
    assert not (fresh / "mlflow.db").exists()


@pytest.mark.slow
def test_kedro_viz_exports_pipelines_with_pictures(digits_project: Path) -> None:
    done = kedro(digits_project, "viz", "build", "--include-previews")
    assert done.returncode == 0, done.stderr
    api = digits_project / "build" / "api"
    main = json.loads((api / "main").read_text())
    ids = {pipeline["id"] for pipeline in main["pipelines"]}
    assert ids == {
        "__default__",
        "ingest",
        "train",
        "sample",
        "ood",
        "calibrate",
        "benchmark",
        "score",
        "register",
        "search",
    }
    assert main["layers"] == IN_ORDER
    nodes = {node["name"]: node["id"] for node in main["nodes"]}
    for picture in ("samples", "training_curves", "ood_histogram", "ood_roc", "ood_images"):
        assert json.loads((api / "nodes" / nodes[picture]).read_text())["preview_type"] == "ImagePreview"


@pytest.mark.slow
def test_own_pipeline_takes_its_parameters(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    own = project / "src" / "glow_pipeline" / "pipelines" / "mine"
    own.mkdir()
    (own / "__init__.py").write_text(
        "from kedro.pipeline import Node, Pipeline\n\n"
        "def show(threshold: int) -> str:\n    print('threshold', threshold + 1)\n    return ''\n\n"
        "def create_pipeline() -> Pipeline:\n"
        "    return Pipeline([Node(show, 'params:own.threshold', 'shown', name='show')])\n"
    )
    (project / "conf" / "base" / "parameters_mine.yml").write_text("own: {threshold: 3}\n")
    written = kedro(project, "run", "--pipelines", "mine")
    assert "threshold 4" in written.stdout, written.stderr
    changed = kedro(project, "run", "--pipelines", "mine", "--params", "own.threshold=6")
    assert "threshold 7" in changed.stdout, changed.stderr

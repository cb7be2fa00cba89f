"""The commands as users type them, one after the other on one project; what leads up to one runs in this process."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.project import TINY, TINY_TYPED, copy_project, files_below, kedro, run, versions


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which `kedro run` has been typed once."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    first = kedro(folder, "run", "--env", "digits", "--params", TINY_TYPED)
    assert first.returncode == 0, first.stdout + first.stderr
    (folder / "first.out").write_text(first.stdout)
    (folder / "first.err").write_text(first.stderr)
    return folder


def newest_metrics(project: Path, pattern: str) -> dict[str, object]:
    metrics: dict[str, object] = json.loads(versions(project, pattern)[-1].read_text())
    return metrics


def test_the_default_run_makes_every_artifact_and_says_where(project: Path) -> None:
    printed = (project / "first.out").read_text()
    for name in ("glow_model", "samples", "train_metrics", "training_curves", "ood_scores", "ood_metrics", "ood_roc"):
        line = next(line for line in printed.splitlines() if line.split()[:1] == [name])
        assert (project / line.split()[1]).is_file()
    assert "bits/dim on test images" in printed
    assert "AUROC" in printed
    assert len(printed.splitlines()) < 25


def test_the_default_run_prints_no_warnings(project: Path) -> None:
    lines = [line for line in (project / "first.err").read_text().splitlines() if line.strip() and "train:" not in line]
    assert [line.partition(":")[0] for line in lines] == ["Images", "Model", "Steps", "Stop"]


def test_score_table_has_one_row_for_each_test_image_of_both_sets(project: Path) -> None:
    scores = pd.read_parquet(versions(project, "07_model_output/digits/vs_textures/ood_scores.parquet/*/*")[-1])
    assert (~scores["is_out"]).sum() == 297
    assert scores["is_out"].sum() == 612
    assert scores["nll_bits_per_dim"].notna().all()
    metrics = newest_metrics(project, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")
    assert metrics["images"] == "1x8x8_4bit_resize"
    assert metrics["in_bits_per_dim"] == pytest.approx(scores.loc[~scores["is_out"], "nll_bits_per_dim"].mean())


def test_an_older_model_scores_by_load_versions(project: Path) -> None:
    older = versions(project, "06_models/digits/glow_model.safetensors/*/*")[0].parent.name
    run(project, "train", **TINY, seed=1)
    run(project, "ood")
    by_newest = newest_metrics(project, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")
    assert kedro(project, "run", "--pipeline", "ood", "--load-versions", f"glow_model:{older}").returncode == 0
    by_older = newest_metrics(project, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")
    assert by_older["model_session"] == older
    assert by_newest["model_session"] != older
    assert by_older["auroc"] != by_newest["auroc"]


def test_interpolation_and_temperature_give_moving_pictures(project: Path) -> None:
    for mode in ("interpolate", "vtemp"):
        run(project, "sample", sample={"mode": mode, "frames": 5})
        with Image.open(versions(project, f"07_model_output/digits/samples_{mode}.png/*/*.gif")[-1]) as movie:
            assert getattr(movie, "n_frames", 1) == 8  # five there, three back
        assert versions(project, f"07_model_output/digits/samples_{mode}.png/*/*.png")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("model.hiden_channels=32", "model.hiden_channels=32: unknown parameter; did you mean model.hidden_channels?"),
        ("dataset=mnst", "dataset='mnst': should be one of those that `make sources` lists; did you mean mnist?"),
    ],
)
def test_a_wrong_parameter_ends_with_one_line_and_leaves_nothing(tmp_path: Path, typed: str, line: str) -> None:
    fresh = copy_project(tmp_path)
    before = files_below(fresh / "data")
    done = kedro(fresh, "run", "--pipeline", "train", "--params", typed)
    assert done.returncode != 0
    assert done.stderr.strip() == f"Error: {line}"
    assert done.stdout.strip() == ""
    assert files_below(fresh / "data") == before
    assert not (fresh / "mlflow.db").exists()


def test_kedro_viz_exports_every_pipeline_with_pictures(project: Path) -> None:
    done = kedro(project, "viz", "build", "--include-previews")
    assert done.returncode == 0, done.stderr
    api = project / "build" / "api"
    main = json.loads((api / "main").read_text())
    ids = {pipeline["id"] for pipeline in main["pipelines"]}
    assert ids == {"__default__", "ingest", "train", "sample", "ood", "search"}
    layers = ["raw", "primary", "models", "model_output", "reporting"]
    assert sorted(main["layers"]) == sorted(layers)
    nodes = {node["name"]: node["id"] for node in main["nodes"]}
    for picture in ("samples", "training_curves", "ood_histogram", "ood_roc"):
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
    typed = kedro(project, "run", "--pipelines", "mine", "--params", "own.threshold=6")
    assert "threshold 7" in typed.stdout, typed.stderr

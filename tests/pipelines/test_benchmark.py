"""Results of `kedro run --pipelines benchmark`, with the real configuration and a tiny model of the digits."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.hooks.helpers import runs
from tests.processes import comes
from tests.project import TINY_TYPED, copy_project, kedro_run, versions

SETS = "calibration+noise+blur+textures"
SCORES = "ood.score=nll,ood.scores=nll+typicality,ood.bootstrap=20"
SCORED = "07_model_output/digits/benchmark/*/*.parquet"


def benchmark(project: Path, sets: str = SETS, more: str = "") -> pd.DataFrame:
    typed = f"benchmark.out_datasets={sets},{SCORES},train.threads=1{more}"
    kedro_run(project, "--pipelines", "benchmark", "--params", typed)
    return tables(project)[-1]


def tables(project: Path) -> list[pd.DataFrame]:
    return [pd.read_parquet(path) for path in versions(project, "08_reporting/digits/benchmark.parquet/*/*")]


def metrics_of(project: Path) -> dict[str, Any]:
    found = versions(project, "08_reporting/digits/benchmark_metrics.json/*/*")[-1]
    metrics: dict[str, Any] = json.loads(found.read_text())
    return metrics


@pytest.fixture(scope="module")
def measured(finished_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = shutil.copytree(finished_digits, tmp_path_factory.mktemp("measured") / "digits")
    benchmark(project)
    return project


def test_table_has_a_row_a_pair_and_score(measured: Path) -> None:
    (table,) = tables(measured)
    assert table[["out_dataset", "score"]].to_numpy().tolist() == [
        [name, score] for name in SETS.split("+") for score in ("nll", "typicality")
    ]
    assert table["kind"].tolist() == ["control"] * 4 + ["near"] * 2 + ["far"] * 2
    assert set(table["model"]) == {
        path.parent.name for path in versions(measured, "06_models/digits/glow_model*/*/*.safetensors")
    }
    assert (table["auroc_low"] <= table["auroc"]).all()
    assert (table["auroc"] <= table["auroc_high"]).all()
    first = table.drop_duplicates("out_dataset")
    sizes = dict(zip(first["out_dataset"], zip(first["n_in"], first["n_out"], strict=True), strict=True))
    assert sizes["textures"] == (297, 612)
    assert sizes["blur"] == sizes["noise"] == (149, 148), "halves: no image meets its own original"
    assert sizes["calibration"] == (297, 75)


def test_pair_is_measured_as_the_ood_pipeline_does(measured: Path) -> None:
    kedro_run(measured, "--pipelines", "ood", "--params", f"{SCORES},train.threads=1")
    metrics = json.loads(versions(measured, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")[-1].read_text())
    rows = tables(measured)[0].set_index(["out_dataset", "score"]).loc["textures"]
    for metric in ("auroc", "aupr_in", "aupr_out", "fpr_at_95_tpr", "detection_error", "auroc_low", "auroc_high"):
        assert rows.loc["nll", metric] == metrics[metric], metric
        assert rows.loc["typicality", metric] == metrics[f"{metric}.typicality"], metric


def test_each_set_is_scored_once(measured: Path) -> None:
    names = sorted(path.name.rpartition("_")[0] for path in versions(measured, SCORED))
    assert names == ["blur", "digits", "noise", "textures"]


def test_files_agree_and_the_figure_opens(measured: Path) -> None:
    (csv,) = versions(measured, "08_reporting/digits/benchmark.csv/*/*")
    pd.testing.assert_frame_equal(pd.read_csv(csv), tables(measured)[0], check_dtype=False)
    with Image.open(versions(measured, "08_reporting/digits/benchmark_heat_map.png/*/*")[0]) as figure:
        assert len(np.unique(np.asarray(figure).reshape(-1, 4), axis=0)) > 10
    metrics = metrics_of(measured)
    assert metrics["n_pairs"] == 4
    assert {"near_mean_auroc", "far_mean_auroc", "far_mean_auroc.typicality"} <= metrics.keys()


def test_mlflow_has_a_run_a_pair(measured: Path) -> None:
    found = {run.info.run_name: run for run in runs(measured)}
    (parent,) = [run for run in found.values() if run.data.tags.get("pipeline") == "benchmark"]
    children = [run for run in found.values() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.info.run_name for run in children} == {f"digits vs {name}" for name in SETS.split("+")}
    assert {run.info.status for run in children} == {"FINISHED"}
    child = found["digits vs textures"]
    table = tables(measured)[0]
    (row,) = table[(table["out_dataset"] == "textures") & (table["score"] == "typicality")].to_dict("records")
    assert child.data.metrics["ood/auroc.typicality"] == row["auroc"]
    assert child.data.params["kind"] == "far"
    assert "benchmark/far_mean_auroc" in parent.data.metrics


def test_images_are_drawn_by_seed(digits_project: Path) -> None:
    table = benchmark(digits_project, "blur+textures", ",benchmark.n_images=20")
    assert table["n_in"].tolist() == table["n_out"].tolist() == [20] * 4
    again = benchmark(digits_project, "textures+blur", ",benchmark.n_images=20")
    keys = ["out_dataset", "score", "auroc", "auroc_low"]
    assert again[keys].sort_values(keys).to_numpy().tolist() == table[keys].sort_values(keys).to_numpy().tolist()


def test_scored_sets_are_not_scored_again(measured: Path, tmp_path: Path) -> None:
    project = shutil.copytree(measured, tmp_path / "digits")
    before = {path: path.stat().st_mtime_ns for path in versions(project, SCORED)}
    table = benchmark(project, f"{SETS}+inverted")
    assert all(path.stat().st_mtime_ns == modified for path, modified in before.items())
    assert len(versions(project, SCORED)) == len(before) + 1
    pd.testing.assert_frame_equal(table[table["out_dataset"] != "inverted"], tables(measured)[0])


@pytest.mark.slow
def test_killed_benchmark_resumes_with_the_next_set(digits_project: Path, tmp_path: Path) -> None:
    untouched = shutil.copytree(digits_project, tmp_path / "untouched")
    typed = f"benchmark.out_datasets=all,{SCORES},train.threads=1"
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", "benchmark", "--params", typed]
    process = subprocess.Popen(command, cwd=digits_project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert comes(lambda: versions(digits_project, SCORED), seconds=120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in versions(digits_project, SCORED)}
    assert not tables(digits_project)
    resumed, complete = (benchmark(project, "all") for project in (digits_project, untouched))
    assert all(path.stat().st_mtime_ns == modified for path, modified in before.items())
    assert len(versions(digits_project, SCORED)) == resumed["out_dataset"].nunique()  # calibration has no file
    pd.testing.assert_frame_equal(resumed, complete)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("benchmark.out_datasets=mnits", "there is no mnits; did you mean mnist?"),
        ("benchmark.out_datasets=blur+digits", "benchmark.out_datasets=digits: its images are among those of"),
        ("benchmark.out_datasets=imagenet", "cannot be downloaded by a program"),
        ("benchmark.out_datasets=blur,benchmark.seeds=2", "benchmark.seeds=2: .* train another with seed=1"),
        ("benchmark.out_datasets=blur,benchmark.n_images=1", "benchmark.n_images=1"),
    ],
)
def test_refused_command_is_one_line(finished_digits: Path, typed: str, line: str) -> None:
    before = versions(finished_digits, "*/digits/*")
    with pytest.raises(click.ClickException, match=line) as refused:
        kedro_run(finished_digits, "--pipelines", "benchmark", "--params", typed)
    assert "\n" not in refused.value.message
    assert versions(finished_digits, "*/digits/*") == before


@pytest.mark.slow
def test_seeds_give_mean_and_deviation(digits_project: Path) -> None:
    kedro_run(digits_project, "--env", "digits", "--pipelines", "train", "--params", f"{TINY_TYPED},seed=1")
    table = benchmark(
        digits_project,
        "textures+blur",
        ",benchmark.seeds=2,benchmark.n_images=50,stored_model=" + oldest_model(digits_project),
    )
    assert table["seed"].tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert table["model"].nunique() == table["detector"].nunique() == 2
    rows = table[(table["out_dataset"] == "textures") & (table["score"] == "nll")]
    assert rows["n_seeds"].tolist() == [2, 2]
    assert rows["auroc_mean"].tolist() == pytest.approx([rows["auroc"].mean()] * 2)
    assert rows["auroc_sd"].tolist() == pytest.approx([rows["auroc"].std(ddof=1)] * 2)


def oldest_model(project: Path) -> str:
    return versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors")[0].parent.name


@pytest.mark.slow
def test_other_direction_is_by_the_other_model(digits_project: Path) -> None:
    kedro_run(digits_project, "--pipelines", "train", "--params", f"{TINY_TYPED},dataset=textures")
    table = benchmark(digits_project, "textures+noise", ",benchmark.both_directions=true,benchmark.n_images=50")
    pairs = table.drop_duplicates(["in_dataset", "out_dataset"])[["in_dataset", "out_dataset", "kind"]]
    assert pairs.to_numpy().tolist() == [
        ["digits", "textures", "far"],
        ["textures", "digits", "far"],
        ["digits", "noise", "control"],
    ]
    (model,) = versions(digits_project, "06_models/textures/glow_model.safetensors/*/*.safetensors")
    assert set(table.loc[table["in_dataset"] == "textures", "model"]) == {model.parent.name}
    kedro_run(
        digits_project,
        "--pipelines",
        "benchmark",
        "--params",
        f"dataset=textures,benchmark.n_images=50,{SCORES},benchmark.out_datasets=digits,train.threads=1",
    )
    own = pd.read_parquet(versions(digits_project, "08_reporting/textures/benchmark.parquet/*/*")[-1])
    reversed_pair = table[table["in_dataset"] == "textures"].reset_index(drop=True)
    pd.testing.assert_frame_equal(reversed_pair[["score", "auroc", "n_in"]], own[["score", "auroc", "n_in"]])


def test_model_without_detector_is_refused(digits_project: Path) -> None:
    shutil.rmtree(digits_project / "data" / "06_models" / "digits" / "glow_detector.safetensors")
    with pytest.raises(click.ClickException, match=r"ood.scores=typicality: .*--pipelines calibrate"):
        benchmark(digits_project)


@pytest.mark.slow
def test_absent_calibration_part_is_left_out_of_all(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    kedro_run(project, "--pipelines", "train", "--params", f"{TINY_TYPED},ingest.calibration_percentage=0")
    table = benchmark(project, "all", ",benchmark.n_images=20")
    assert "calibration" not in set(table["out_dataset"])
    assert {"textures", "noise", "patch"} < set(table["out_dataset"])
    with pytest.raises(click.ClickException, match=r"calibration: detector .* has no calibration images"):
        benchmark(project, "calibration")


def test_scores_without_calibration_values_are_refused(finished_digits: Path) -> None:
    typed = "benchmark.out_datasets=calibration,ood.scores=gradient_input,ood.score=gradient_input,train.threads=1"
    with pytest.raises(click.ClickException, match=r"detector .* has no calibration values of gradient_input"):
        kedro_run(finished_digits, "--pipelines", "benchmark", "--params", f"dataset=digits,{typed}")

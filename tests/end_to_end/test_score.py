"""The command that judges a person's own images, as users type it."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pandas as pd
import pytest
from PIL import Image

from glow_pipeline.verdict import columns
from tests.hooks.helpers import client_of, runs
from tests.images.pictures import noise
from tests.project import files_below, kedro, kedro_run, versions
from tests.verdict.odd_files import write_odd_files

TABLE = "07_model_output/digits/score_scans/scored_files.{}/*/*"
PROGRESS = "07_model_output/digits/score_scans/progress/{}"
WORTH = "08_reporting/digits/score_scans/score_worth.json/*/*"
BY_DEFAULT = "ood.score=density_sum,train.threads=1,ingest.num_workers=0"


def table_of(project: Path) -> pd.DataFrame:
    return pd.read_parquet(versions(project, TABLE.format("parquet"))[-1])


def score(project: Path, images: Path, params: str = "") -> pd.DataFrame:
    more = f",{params}" if params else ""
    kedro_run(project, "--pipelines", "score", "--params", f"{BY_DEFAULT},score.images={images}{more}")
    return table_of(project)


def test_folder_of_odd_files_is_judged(digits_project: Path, tmp_path: Path) -> None:
    good, bad = write_odd_files(tmp_path / "scans")
    done = kedro(
        digits_project, "run", "--pipeline", "score", "--params", f"{BY_DEFAULT},score.images={tmp_path}/scans"
    )
    assert done.returncode == 0, done.stderr
    table = table_of(digits_project)
    names = table[columns.FILE].str.removeprefix(f"{tmp_path}/scans/")
    readable = table[columns.UNREADABLE].isna()
    assert set(names[readable]) == good
    reasons = dict(zip(names[~readable], table[columns.UNREADABLE][~readable], strict=True))
    assert reasons.keys() == bad.keys()
    assert [name for name, reason in bad.items() if not reasons[name].startswith(reason)] == []
    assert table[columns.P_VALUE][readable].between(1 / 76, 1).all()
    assert table[columns.P_VALUE][~readable].isna().all()
    assert readable.is_monotonic_decreasing
    (csv,) = versions(digits_project, TABLE.format("csv"))
    read = pd.read_csv(csv)
    assert read[columns.FILE].tolist() == table[columns.FILE].tolist()
    assert read[columns.P_VALUE].equals(table[columns.P_VALUE])
    worth = json.loads(versions(digits_project, WORTH)[-1].read_text())
    assert (worth["n_files"], worth["n_scored"]) == (len(good) + len(bad), len(good))
    assert any("more than 8 bits" in line for line in worth["warnings"])
    assert f"Of {len(good) + len(bad)} files" in done.stdout
    assert f"{len(bad)} could not be read" in done.stdout
    assert str(csv.relative_to(digits_project)) in done.stdout
    assert sum(line.startswith("    p 0.") for line in done.stdout.splitlines()) == 5
    assert "Look: open the report and the pictures above; " in done.stdout
    (run,) = [run for run in runs(digits_project) if run.data.tags["pipeline"] == "score"]
    assert (run.info.run_name or "").startswith("score digits judges scans")
    assert run.data.metrics["score/n_scored"] == len(good)
    logged = {file.path for file in client_of(digits_project).list_artifacts(run.info.run_id, "tables")}
    assert {"tables/scored_files.csv", "tables/scored_files.parquet"} <= logged
    assert [file.path for file in client_of(digits_project).list_artifacts(run.info.run_id, "report")] == [
        "report/report.html"
    ]
    (page,) = versions(digits_project, "08_reporting/digits/score_scans/report.html/*/*")
    assert page.read_text().count('<li class="card">') == min(24, len(good))
    assert f"Of {len(good) + len(bad)} files" in page.read_text()
    (heat_maps,) = versions(digits_project, "07_model_output/digits/score_scans/heat_maps/*/*")
    assert len(list(heat_maps.glob("*.png"))) == min(24, len(good))


@pytest.mark.slow
def test_model_elsewhere_judges_alike(digits_project: Path, tmp_path: Path) -> None:
    write_odd_files(tmp_path / "scans")
    first = score(digits_project, tmp_path / "scans", "score.heatmaps=none")
    (model,) = versions(digits_project, "06_models/digits/glow_model.safetensors/*/*.safetensors")
    (detector,) = versions(digits_project, "06_models/digits/glow_detector.safetensors/*/*")
    (tmp_path / "usb").mkdir()
    for file in (model, detector):
        shutil.move(file, tmp_path / "usb" / file.name)
    for folder in ("01_raw", "03_primary", "06_models"):  # no training image is needed
        shutil.rmtree(digits_project / "data" / folder, ignore_errors=True)
    moved = f"score.heatmaps=none,score.model={tmp_path}/usb/{model.name}"
    pd.testing.assert_frame_equal(score(digits_project, tmp_path / "scans", moved), first)


def parts_of(project: Path) -> int:
    return len(versions(project, PROGRESS.format("*/*.parquet")))


def write_copies(folder: Path, n: int) -> None:
    """Write one image under many names to `scans`."""
    (folder / "scans").mkdir()
    image = folder / "image.png"
    Image.fromarray(noise(8, 8)).save(image)
    for i in range(n):
        (folder / "scans" / f"{i:05}.png").hardlink_to(image)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_killed_command_continues(digits_project: Path, tmp_path: Path, number: int, exit_code: int) -> None:
    write_copies(tmp_path, 30_000)
    params = f"{BY_DEFAULT},score.images={tmp_path}/scans,score.heatmaps=none"
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", "score", "--params", params]
    with subprocess.Popen(command, cwd=digits_project, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        while not parts_of(digits_project):
            assert started.poll() is None
            time.sleep(0.1)
        started.send_signal(number)
        started.communicate()
    assert started.returncode == exit_code
    again = kedro(digits_project, "run", "--pipelines", "score", "--params", params)
    assert re.search(r" [\d,]+ of 30,000 files were scored by an earlier command", again.stdout + again.stderr)
    table = table_of(digits_project)
    assert len(table) == table[columns.FILE].nunique() == 30_000
    assert table[columns.P_VALUE].nunique() == 1
    assert parts_of(digits_project) == 1


@pytest.mark.slow
def test_commands_share_a_list_and_one_is_killed(
    digits_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_copies(tmp_path, 9_000)
    for i in range(300):
        Image.fromarray(noise(8, 8, seed=i)).save(tmp_path / "scans" / f"other{i:03}.png")
    (tmp_path / "scans" / "broken.png").touch()
    plain = f"{BY_DEFAULT},score.images={tmp_path}/scans,score.heatmaps=none"
    params = f"{plain},workers.engine=array,workers.of=3,workers.part_images=1000"
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", "score", "--params", params]
    monkeypatch.setenv("NODE_RANK", "1")
    with subprocess.Popen(command, cwd=digits_project, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        while not versions(digits_project, PROGRESS.format("made_with-*")):  # it begins; its share takes a second
            assert started.poll() is None
            time.sleep(0.005)
        started.kill()
        started.communicate()
    for index in (0, 2):
        monkeypatch.setenv("NODE_RANK", str(index))
        helped = kedro(digits_project, *command[3:])
        assert helped.returncode == 0
        assert "This machine has helped: its share" in helped.stdout + helped.stderr
        assert not versions(digits_project, TABLE.format("parquet"))
    monkeypatch.setenv("NODE_RANK", "1")
    assert kedro(digits_project, *command[3:]).returncode == 0
    shared = table_of(digits_project)
    assert kedro(digits_project, *command[3:-1], f"{plain},score.on_resume=restart").returncode == 0
    pd.testing.assert_frame_equal(table_of(digits_project), shared, check_exact=True)


REFUSED = {
    "score.images=nowhere": "score.images=nowhere: no such file or folder; ",
    "score.images=data/*.nothing": "score.images=data/*.nothing: no file; ",
    "": "score.images=null: no images to judge; ",
    "score.images=conf,score.false_alarm_rate=0.01": "score.false_alarm_rate=0.01: needs 99 calibration images at ",
    "score.images=conf,score.scores=waic": "score.scores=waic: waic compares with other models, ",
    "score.images=conf,score.scores=gradient": "score.scores=gradient: gradient: not in detector ",
    "score.images=conf,score.model=a.safetensors": "score.model=a.safetensors: no such file; ",
    "score.images=conf,score.model=a,stored_model=b": "score.model=a: stored_model=b names another one; ",
    "score.images=conf,dataset=mnist": "dataset=mnist: no trained model of it yet ",
}


@pytest.mark.parametrize("params", REFUSED)
def test_refused_before_anything_is_written(digits_project: Path, params: str) -> None:
    before = files_below(digits_project / "data"), (digits_project / "mlflow.db").read_bytes()
    with pytest.raises(click.ClickException) as refused:
        kedro_run(digits_project, "--pipelines", "score", "--params", f"ood.score=density_sum,{params}".strip(","))
    assert refused.value.message.startswith(REFUSED[params])
    assert "\n" not in refused.value.message
    assert (files_below(digits_project / "data"), (digits_project / "mlflow.db").read_bytes()) == before


def test_model_without_detector_says_what_to_type(digits_project: Path) -> None:
    shutil.rmtree(digits_project / "data" / "06_models" / "digits" / "glow_detector.safetensors")
    with pytest.raises(click.ClickException, match=r"--pipelines calibrate --params dataset=digits`$") as refused:
        kedro_run(digits_project, "--pipelines", "score", "--params", "score.images=conf")
    assert "the model has no detector yet" in refused.value.message


def test_other_pipelines_refuse_images_to_judge(digits_project: Path) -> None:
    with pytest.raises(click.ClickException, match=r"^score\.images=conf: this command judges no files; "):
        kedro_run(digits_project, "--pipelines", "sample", "--params", "score.images=conf")

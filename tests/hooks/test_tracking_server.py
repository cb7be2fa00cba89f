"""Runs that are recorded by an MLflow server with a disk of its own."""

import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click
import mlflow
import pytest
from mlflow.entities import Run

from glow_pipeline.tracking.runs import RunAddress, log_params
from tests.hooks.helpers import inputs_of, point_to
from tests.mlflow_server import MlflowServer
from tests.postgres import postgres
from tests.project import TINY, copy_project, files_below, run

# More characters than MLflow keeps of one parameter.
CHOICES = {"choices": [0.001 + i / 1e9 for i in range(500)], "low": None, "high": None, "log": None}
LONG: dict[str, Any] = {"search": {"ranges": {"train.lr": CHOICES}}}
RANGES = {"train.lr": {"low": 1e-3}, "model.K": None, "model.hidden_channels": None}
SEARCH: dict[str, Any] = {"search": {"n_trials": 2, "ranges": RANGES}}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine's server take more than the 6 seconds for an answer after which a run goes on without."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")


def clone(folder: Path, address: str) -> Path:
    """A project in a git checkout, whose runs go to this server."""
    project = copy_project(folder, mlflow_used=False)
    point_to(project, address)
    for typed in (
        "init --quiet --initial-branch=main",
        "add pyproject.toml",
        "-c user.name=a -c user.email=b commit --message=first",
    ):
        subprocess.run(["git", *typed.split()], cwd=project, check=True, stdout=subprocess.DEVNULL)
    return project


def recorded(address: str, experiment: str = "glow_pipeline") -> list[Run]:
    """Newest first."""
    client = mlflow.MlflowClient(address)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id]))


def stored(server: MlflowServer, run_id: str) -> set[str]:
    """Return the files of a run on the server's disk."""
    (folder,) = server.artifacts.glob(f"*/{run_id}/artifacts")
    return {str(path.relative_to(folder)) for path in files_below(folder)}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Ours."""
    return [
        record.message
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("glow_pipeline")
    ]


def interrupted(*_: Any, **__: Any) -> NoReturn:
    raise SystemExit(143)


def test_git_checkout_training_is_on_the_servers_disk(
    server: MlflowServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project = clone(tmp_path, server.address)
    run(project, "train", **TINY, **LONG)
    (done,) = recorded(server.address)
    assert (done.info.status, done.data.tags["git_dirty"]) == ("FINISHED", "True")
    assert len(done.data.tags["git_commit"]) == 40
    assert done.data.metrics["test/bits_per_dim"] > 0
    assert set(inputs_of(done)) == {"train_images", "test_images"}
    assert len(done.data.params["search.ranges.train.lr.choices"]) == 6000
    files = stored(server, done.info.run_id)
    assert files >= {"training_curves.png", "metrics/train_metrics.json", "model/record.json"}
    assert not (project / "mlartifacts").exists()
    assert not (project / "mlflow.db").exists()
    assert warnings(caplog) == []


def test_params_beyond_one_request_are_logged(server: MlflowServer) -> None:
    client = mlflow.MlflowClient(server.address)
    experiment = client.create_experiment("many params")
    run = RunAddress(server.address, client.create_run(experiment).info.run_id)
    log_params(run, {f"p{k}": k for k in range(250)})
    assert client.get_run(run.run_id).data.params == {f"p{k}": str(k) for k in range(250)}


def test_storage_that_cannot_be_opened_is_one_line(server: MlflowServer, tmp_path: Path) -> None:
    project = clone(tmp_path, server.address)
    (project / "conf" / "local" / "mlflow.yml").write_text(
        f"tracking_uri: {server.address}\nexperiment: elsewhere\nartifacts: gs://no-such-bucket/glow\n"
    )
    with pytest.raises(click.ClickException, match=r"artifacts at gs://no-such-bucket/glow/.*: No module named"):
        run(project, "ingest")
    assert [done.info.status for done in recorded(server.address, "elsewhere")] == ["FAILED"]
    assert not list(project.glob("gs*"))


@pytest.fixture(params=["sqlite", "postgres"])
def any_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MlflowServer]:
    """A server on each kind of database."""
    folder = tmp_path / "server"
    folder.mkdir()
    if request.param == "sqlite":
        started = MlflowServer(folder)
        started.start()
        yield started
        started.kill()
        return
    with postgres() as store:
        started = MlflowServer(folder, store)
        started.start()
        yield started
        started.kill()


@pytest.mark.slow
def test_two_clones_share_a_server_for_every_command(
    any_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address = any_server.address
    first, second = clone(tmp_path / "first", address), clone(tmp_path / "second", address)

    with monkeypatch.context() as patch:
        patch.setattr("glow_pipeline.pipelines.train.nodes.measure_images", interrupted)
        with pytest.raises(SystemExit):
            run(first, "train", **TINY, **LONG)
    (killed,) = recorded(address)
    assert killed.info.status == "KILLED"
    run(first, "train", **TINY, **LONG)
    (trained,) = recorded(address)
    assert (trained.info.run_id, trained.info.status) == (killed.info.run_id, "FINISHED")
    assert {key: value for key, value in trained.data.tags.items() if key.startswith("resumed")} == {"resumed": "1"}

    for pipeline in ("sample", "ood"):
        run(first, pipeline)
    run(second, "train", seed=1, **TINY)
    run(second, "ood")
    run(second, "search", **TINY, **SEARCH)

    runs = recorded(address)
    assert {done.info.status for done in runs} == {"FINISHED"}
    below = [done for done in runs if "mlflow.parentRunId" in done.data.tags]
    assert sorted(done.info.run_name or "" for done in below) == ["trial 0", "trial 1"]
    assert all(done.data.metrics["val/bits_per_dim"] > 0 for done in below)
    commands = [done.data.tags["pipeline"] for done in reversed(runs) if done not in below]
    assert commands == ["train", "sample", "ood", "train", "ood", "search"]
    client = mlflow.MlflowClient(address)
    scored = [done for done in runs if "ood/auroc" in done.data.metrics]
    for done, source in zip(scored, [run_ for run_ in runs if run_.data.tags.get("pipeline") == "train"], strict=True):
        name = done.data.tags["model"]
        (model,) = client.search_logged_models([done.info.experiment_id], filter_string=f"name='{name}'")
        assert model.source_run_id == source.info.run_id
        assert {metric.key for metric in model.metrics or []} >= {"test/bits_per_dim", "ood/auroc"}
        assert "ood_roc.png" in stored(any_server, done.info.run_id)
    for project in (first, second):
        assert not (project / "mlartifacts").exists()
    assert warnings(caplog) == []


@pytest.mark.slow
def test_database_without_server_keeps_artifacts_in_project(tmp_path: Path) -> None:
    with postgres() as store:
        project = clone(tmp_path, store)
        run(project, "train", **TINY)
        (done,) = recorded(store)
    assert done.info.status == "FINISHED"
    assert list((project / "mlartifacts").glob(f"{done.info.run_id}/artifacts/*.png"))
    shutil.rmtree(project)

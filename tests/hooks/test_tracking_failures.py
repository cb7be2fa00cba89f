"""MLflow servers and databases that fail, from the start or during a run."""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from glow_pipeline.tracking.command_run import CommandRun
from tests.hooks.helpers import point_to
from tests.mlflow_server import MlflowServer
from tests.project import copy_project, run, versions


@pytest.mark.slow
def test_run_survives_a_server_that_dies(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project = tmp_path / "project"
    shutil.copytree(trained, project)
    server = MlflowServer(tmp_path)
    point_to(project, server.address)
    use_model = CommandRun.use_model

    def die_then_use(command_run: CommandRun, name: str) -> None:
        server.kill()
        use_model(command_run, name)

    monkeypatch.setattr(CommandRun, "use_model", die_then_use)
    try:
        server.start()
        run(project, "ood")
    finally:
        server.kill()
    assert versions(project, "08_reporting/*/vs_*/ood_metrics.json/*/*")
    logged = [message.split(" (")[0] for message in caplog.messages if message.startswith("MLflow")]
    assert "MLflow does not record that the run uses glow_model" in logged
    assert "MLflow does not record the file of ood_scores" in logged
    assert "MLflow does not record the figures of ood_metrics" in logged
    assert logged[-1] == "MLflow does not record that the run is FINISHED"
    assert len(logged) == len(set(logged)), "one line each"


def test_error_is_raised_also_without_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        shutil.rmtree(project / "database")
        (project / "database").write_text("in its place")
        raise ValueError("no such luck")

    project = copy_project(tmp_path)
    (project / "database").mkdir()
    point_to(project, "sqlite:///database/mlflow.db")
    monkeypatch.setattr("glow_pipeline.pipelines.ingest.nodes.plan_images", broken)
    with pytest.raises(ValueError, match="no such luck"):
        run(project, "ingest")
    logged = [message.split(" (")[0] for message in caplog.messages if message.startswith("MLflow")]
    assert logged == [
        "MLflow does not record the error that ends the run",
        "MLflow does not record that the run is FAILED",
    ]


def test_unreachable_server_is_reported_within_seconds(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    point_to(project, "http://127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(click.ClickException, match=r"^mlflow.yml: tracking_uri=http://127.0.0.1:1: no run could be"):
        run(project, "ingest")
    assert time.monotonic() - started < 60, "MLflow by itself would try for minutes"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"


def test_damaged_database_is_one_line(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "mlflow.db").write_text("garbage")
    with pytest.raises(click.ClickException) as refused:
        run(project, "ingest")
    assert refused.value.message == (
        "mlflow.yml: tracking_uri=sqlite:///mlflow.db: no run could be started there (file is not a database); "
        "correct the address, or set enabled: false"
    )
    assert versions(project, "03_primary/*/*/*/*/*") == []


@pytest.mark.slow
def test_locked_database_is_one_line(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    run(project, "ingest")
    with closing(sqlite3.connect(project / "mlflow.db", isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(
            click.ClickException, match=r"could be started there \(database is locked\); correct the address"
        ):
            run(project, "ingest")

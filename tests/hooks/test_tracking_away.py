"""MLflow servers that are away, from the beginning or from the middle of a run."""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from glow_pipeline.hooks.tracking import TrackingHook
from glow_pipeline.tracking.runs import RunAddress
from tests.mlflow_server import MlflowServer
from tests.project import copy_project, run, versions


def point_to(project: Path, address: str) -> None:
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text(f"tracking_uri: {address}\n")


@pytest.mark.slow
def test_a_run_survives_a_server_that_dies_in_its_middle(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project = tmp_path / "project"
    shutil.copytree(trained, project)
    server = MlflowServer(tmp_path)
    point_to(project, server.address)
    link = TrackingHook._link_model

    def die_then_link(hook: TrackingHook, address: RunAddress, data: Any) -> None:
        server.kill()
        link(hook, address, data)

    monkeypatch.setattr(TrackingHook, "_link_model", die_then_link)
    try:
        server.start()
        run(project, "ood")
    finally:
        server.kill()
    assert versions(project, "08_reporting/*/vs_*/ood_metrics.json/*/*")
    told = [message.split(" (")[0] for message in caplog.messages if message.startswith("MLflow")]
    assert "MLflow does not record that the run uses glow_model" in told
    assert "MLflow does not record the file of ood_scores" in told
    assert "MLflow does not record the figures of ood_metrics" in told
    assert told[-1] == "MLflow does not record that the run is FINISHED"
    assert len(told) == len(set(told)), "one line each"


def test_an_error_of_a_run_whose_server_died_is_still_that_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        shutil.rmtree(project / "database")
        (project / "database").write_text("in its place")
        raise ValueError("no such luck")

    project = copy_project(tmp_path)
    (project / "database").mkdir()
    point_to(project, "sqlite:///database/mlflow.db")
    monkeypatch.setattr("glow_pipeline.pipelines.ingest.nodes.plan_table", broken)
    with pytest.raises(ValueError, match="no such luck"):
        run(project, "ingest")
    told = [message.split(" (")[0] for message in caplog.messages if message.startswith("MLflow")]
    assert told == [
        "MLflow does not record the error that ends the run",
        "MLflow does not record that the run is FAILED",
    ]


def test_a_server_that_is_away_at_the_start_is_one_line_at_once(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    point_to(project, "http://127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(click.ClickException, match=r"^mlflow.yml: tracking_uri=http://127.0.0.1:1: no run could be"):
        run(project, "ingest")
    assert time.monotonic() - started < 15
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "mlflow.db").write_text("garbage")
    with pytest.raises(click.ClickException) as refused:
        run(project, "ingest")
    assert refused.value.message == (
        "mlflow.yml: tracking_uri=sqlite:///mlflow.db: no run could be started there (file is not a database); "
        "mend the address, or set enabled: false"
    )
    assert versions(project, "03_primary/*/*/*/*/*") == []


@pytest.mark.slow
def test_a_database_that_another_process_holds_is_one_line(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    run(project, "ingest")
    with closing(sqlite3.connect(project / "mlflow.db", isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(
            click.ClickException, match=r"could be started there \(database is locked\); mend the address"
        ):
            run(project, "ingest")

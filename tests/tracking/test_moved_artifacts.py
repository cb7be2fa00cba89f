"""Artifacts of a project that was moved."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from glow_pipeline.tracking.moved_artifacts import follow_artifacts
from tests.project import TINY, copy_project, run


def artifact_uris(project: Path) -> set[str]:
    client = mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "glow_pipeline"]
    return {done.info.artifact_uri for done in client.search_runs([experiment.experiment_id])} | {
        experiment.artifact_location
    }


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_artifacts_follow_their_project(tmp_path: Path, how: str) -> None:
    first = copy_project(tmp_path / "first")
    run(first, "train", **TINY)
    place = shutil.copytree(first, tmp_path / "then 100% more") if how == "copied" else first.rename(tmp_path / "b c")
    run(place, "ingest")
    assert all(uri.startswith((place / "mlartifacts").as_uri()) for uri in artifact_uris(place))
    client = mlflow.MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    trained = min(client.search_runs(["1"]), key=lambda done: done.info.start_time)
    found = {file.path for file in client.list_artifacts(trained.info.run_id)}
    assert found >= {"card", "detector", "images", "metrics", "model", "training_curves.png"}
    assert not (tmp_path / "first").exists() or how == "copied"


def test_places_that_only_begin_alike_stay(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    run(project, "ingest")
    database = project / "mlflow.db"
    client = mlflow.MlflowClient(f"sqlite:///{database}")
    client.create_registered_model("registered")
    client.create_model_version("registered", "file:///a/mlartifacts/models/m")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("update runs set artifact_uri = 'file:///a/mlartifacts_old/x'")
        connection.execute("update experiments set artifact_location = 'file:///a/mlartifacts'")
    assert follow_artifacts(database, "file:///a/mlartifacts", "file:///b/mlartifacts")
    assert artifact_uris(project) == {"file:///a/mlartifacts_old/x", "file:///b/mlartifacts"}
    assert client.get_model_version_download_uri("registered", "1") == "file:///b/mlartifacts/models/m"


def test_locked_database_stays_unchanged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not follow_artifacts(tmp_path, "file:///a", "file:///b")
    assert "cannot follow its artifacts" in caplog.text

"""MLflow runs by the versions of their commands, and their removal."""

from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import ViewType

from glow_pipeline.tracking.destination import Destination
from glow_pipeline.tracking.stored_runs import remove_runs, runs_by_version
from tests.project import new_mlflow_database


@pytest.fixture
def place(tmp_path: Path) -> Destination:
    (tmp_path / "mlflow.db").write_bytes(new_mlflow_database())
    artifacts = (tmp_path / "mlartifacts").as_uri()
    return Destination(f"sqlite:///{tmp_path / 'mlflow.db'}", "glow_pipeline", artifacts, True, "shown", tmp_path)


@pytest.fixture
def client(place: Destination) -> mlflow.MlflowClient:
    client = mlflow.MlflowClient(place.tracking_uri)
    client.create_experiment(place.experiment, artifact_location=place.artifacts)
    return client


def make_run(client: mlflow.MlflowClient, session: str | None = None, parent: str | None = None) -> str:
    tags = {"kedro_session": session, "mlflow.parentRunId": parent}
    (experiment,) = client.search_experiments(filter_string="name = 'glow_pipeline'")
    given = {key: value for key, value in tags.items() if value is not None}
    run_id: str = client.create_run(experiment.experiment_id, run_name=f"run {session}", tags=given).info.run_id
    client.log_text(run_id, "text", "figures/a.txt")
    client.set_terminated(run_id)
    return run_id


def remaining(client: mlflow.MlflowClient) -> set[str]:
    experiments = [each.experiment_id for each in client.search_experiments()]
    return {run.info.run_id for run in client.search_runs(experiments, run_view_type=ViewType.ALL)}


def test_runs_have_their_children_models_and_artifacts(place: Destination, client: mlflow.MlflowClient) -> None:
    parent = make_run(client, "one")
    child = make_run(client, parent=parent)
    client.log_param(parent, "stored_model", "zero")
    client.create_registered_model("glow-digits")
    client.create_model_version("glow-digits", str(place.artifacts), parent, await_creation_for=0)
    found = runs_by_version(place) or {}
    assert set(found) == {"one"}
    run = found["one"]
    assert (run.run_id, run.children, run.status, run.stored_model) == (parent, (child,), "FINISHED", "zero")
    assert run.registered == ("glow-digits version 1",)
    assert all((path / "figures" / "a.txt").is_file() for path in run.artifacts)


def test_removal_spares_all_other_runs(place: Destination, client: mlflow.MlflowClient) -> None:
    parent, other, deleted = (make_run(client, name) for name in ("one", "two", "three"))
    child = make_run(client, parent=parent)
    client.delete_run(deleted)  # by a user, who may restore it
    found = runs_by_version(place) or {}
    assert remove_runs(place, [found["one"]]) is None
    assert remaining(client) == {other, deleted}
    assert not any(path.exists() for path in found["one"].artifacts)
    assert {path.name for path in (place.project / "mlartifacts").iterdir()} == {other, deleted}
    assert child not in remaining(client)


def test_project_without_runs_has_none(tmp_path: Path, place: Destination) -> None:
    assert runs_by_version(place) == {}
    (tmp_path / "mlflow.db").unlink()
    assert runs_by_version(place) == {}
    assert not (tmp_path / "mlflow.db").exists()


def test_database_that_cannot_be_read_costs_a_warning(place: Destination, caplog: pytest.LogCaptureFixture) -> None:
    (place.project / "mlflow.db").write_bytes(b"no database")
    assert runs_by_version(place) is None
    assert "what its runs need is unknown" in caplog.text


def test_database_outside_the_project_keeps_deleted_runs(place: Destination, client: mlflow.MlflowClient) -> None:
    run = make_run(client, "one")
    found = runs_by_version(place) or {}
    left = remove_runs(replace(place, project=place.project / "another"), [found["one"]])
    assert left == "shown: runs are deleted there; their artifacts stay until its administrator types `mlflow gc`"
    client.restore_run(run)
    assert all((path / "figures" / "a.txt").is_file() for path in found["one"].artifacts)


def test_run_is_running_while_one_below_it_is(place: Destination, client: mlflow.MlflowClient) -> None:
    parent = make_run(client, "one")
    child = make_run(client, parent=parent)
    assert (runs_by_version(place) or {})["one"].status == "FINISHED"
    client.update_run(child, "RUNNING")
    assert (runs_by_version(place) or {})["one"].status == "RUNNING"

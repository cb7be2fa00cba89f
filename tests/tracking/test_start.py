"""The start of a command's run: a new one, or the one that it resumes."""

import logging
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.tracking.destination import Destination, TrackingConfig, destination
from glow_pipeline.tracking.pages import Pages, server_of
from glow_pipeline.tracking.runs import current_run
from glow_pipeline.tracking.start import report_place, start_run
from tests.project import new_mlflow_database

CONFIG: dict[str, Any] = {"enabled": True, "tracking_uri": None, "experiment": None, "artifacts": None}
TAGS = {"kedro_session": "first", "kedro_command": "kedro run", "git_commit": "abc", "mlflow.user": "me"}
PARAMS: dict[str, object] = {"seed": 0, "train.n_epochs": 1}


@pytest.fixture
def place(tmp_path: Path) -> Destination:
    """The database of a new project, which MLflow has used before."""
    (tmp_path / "mlflow.db").write_bytes(new_mlflow_database())
    return destination(TrackingConfig.parse(CONFIG), tmp_path, {})


@pytest.fixture
def client(place: Destination) -> MlflowClient:
    return MlflowClient(place.tracking_uri)


def record(
    place: Destination,
    resumed_run_id: str | None = None,
    params: dict[str, object] = PARAMS,
    tags: dict[str, str] = TAGS,
) -> str:
    """Start a run and end it; return its id."""
    with start_run(place, "train digits", params, tags, resumed_run_id) as run:
        assert current_run() == run.address
    assert current_run() is None
    return run.address.run_id


def all_runs(client: MlflowClient) -> list[Run]:
    (experiment,) = [found for found in client.search_experiments() if found.name == "glow_pipeline"]
    return list(client.search_runs([experiment.experiment_id]))


def test_new_run_has_name_tags_and_parameters(place: Destination, client: MlflowClient) -> None:
    run = client.get_run(record(place))
    assert (run.info.run_name, run.info.status) == ("train digits", "FINISHED")
    assert run.data.params == {"seed": "0", "train.n_epochs": "1"}
    assert run.data.tags.items() >= TAGS.items()


def test_resumed_run_keeps_its_parameters(place: Destination, client: MlflowClient) -> None:
    run_id = record(place)
    client.set_terminated(run_id, "FAILED")
    client.set_tag(run_id, "error", "ValueError: no such luck")
    client.log_param(run_id, "of.another.version", "1")

    latest = {**TAGS, "kedro_session": "second"}
    assert record(place, run_id, {**PARAMS, "train.n_epochs": 2}, latest) == run_id
    (resumed,) = all_runs(client)
    assert resumed.info.status == "FINISHED"
    assert resumed.data.params == {"seed": "0", "train.n_epochs": "1", "of.another.version": "1"}
    changed = {key: value for key, value in resumed.data.tags.items() if key.startswith("resumed")}
    assert changed == {"resumed": "1", "resumed.train.n_epochs": "2"}
    assert resumed.data.tags["kedro_session"] == "second"
    assert "error" not in resumed.data.tags


def test_change_that_is_taken_back_is_recorded(place: Destination, client: MlflowClient) -> None:
    run_id = record(place)
    record(place, run_id, {**PARAMS, "train.n_epochs": 2})
    record(place, run_id, {**PARAMS, "seed": 1})
    tags = client.get_run(run_id).data.tags
    assert tags["resumed"] == "2"
    assert tags["resumed.train.n_epochs"] == "1", "as it was in the latest command"
    assert tags["resumed.seed"] == "1"


def test_parameter_missing_in_the_run_is_logged(place: Destination, client: MlflowClient) -> None:
    experiment_id = client.get_run(record(place)).info.experiment_id
    bare = client.create_run(experiment_id).info.run_id
    client.log_param(bare, "seed", "0")
    record(place, bare)
    assert client.get_run(bare).data.params == {"seed": "0", "train.n_epochs": "1"}


@pytest.mark.parametrize("how", ["deleted", "unknown", "of another experiment"])
def test_new_run_replaces_one_that_is_gone(
    place: Destination, client: MlflowClient, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    gone = record(place)
    if how == "deleted":
        client.delete_run(gone)
    if how == "unknown":
        gone = "0" * 32
    if how == "of another experiment":
        gone = client.create_run("0").info.run_id
    assert record(place, gone) != gone
    assert all_runs(client)[0].info.status == "FINISHED"
    assert [message for message in caplog.messages if gone in message] == [
        f"MLflow run {gone} of the training that is resumed is gone; a new one is started"
    ]


def test_unreachable_address_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = destination(TrackingConfig.parse({**CONFIG, "tracking_uri": "sqlite:///file/mlflow.db"}), tmp_path, {})
    with pytest.raises(GlowPipelineError, match=r"^mlflow.yml: tracking_uri=sqlite:///file/mlflow.db: no run could"):
        record(place)
    assert current_run() is None


@pytest.mark.parametrize(
    ("location", "given", "expected"),
    [
        ("mlflow-artifacts:/1", {"tracking_uri": "http://server"}, []),
        ("file:///other/mlartifacts", {"tracking_uri": "http://server"}, ["of whichever computer writes them"]),
        ("s3://bucket/1", {"tracking_uri": "http://server", "artifacts": "s3://bucket/2"}, ["since it was created"]),
        ("file:///other/mlartifacts", {"tracking_uri": "sqlite:////shared/mlflow.db"}, []),
        ("file:///project/mlartifacts", {}, []),
        ("file:///other/mlartifacts", {}, ["the project was moved or copied"]),
    ],
)
def test_unexpected_artifact_location_is_reported(
    location: str, given: dict[str, str], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    project = Path("/project")
    place = destination(TrackingConfig.parse({**CONFIG, **given}), project, {})
    experiment = Experiment("1", "glow_pipeline", location, "active")
    report_place(experiment, place, "page")
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == len(expected)
    assert all(part in message for part, message in zip(expected, warned, strict=True))


def test_server_address_is_shown_without_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    uri = "https://me:secret@server/mlflow/"
    place = Destination(uri, "glow_pipeline", None, True, "", Path("/project"))
    experiment = Experiment("1", "glow_pipeline", "mlflow-artifacts:/1", "active")
    report_place(experiment, place, Pages(server_of(uri), "1").run("abc"))
    assert caplog.messages == [
        "MLflow: https://me:***@server/mlflow/#/experiments/1/runs/abc?workflowType=machine_learning"
    ]

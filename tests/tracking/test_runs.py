"""Runs of MLflow: that of this command, those below it and beside it."""

import pickle
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Experiment

from glow_pipeline.tracking.failures import restrain_mlflow
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.tracking.new_database import make_database
from glow_pipeline.tracking.runs import (
    RunAddress,
    current_run,
    end_run,
    sibling,
    start_child_run,
)
from glow_pipeline.tracking.start import make_experiment
from tests.mlflow_server import MlflowServer


def test_no_run_has_no_child() -> None:
    assert mlflow.active_run() is None
    assert current_run() is None
    assert start_child_run(None, "child", {}) is None
    end_run(None, "FINISHED")


def test_unreachable_address_is_known_within_15_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "100")
    restrain_mlflow()
    assert mlflow.environment_variables.MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 100, "a user's own setting stays"
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    restrain_mlflow()
    tries = 1 + mlflow.environment_variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()
    assert tries * mlflow.environment_variables.MLFLOW_HTTP_REQUEST_TIMEOUT.get() < 15


class EarlierLook(mlflow.MlflowClient):
    """A client whose first look for an experiment is of a moment before another command made it."""

    looked = False

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        if not self.looked:
            self.looked = True
            return None
        return super().get_experiment_by_name(name)


def test_two_commands_make_the_experiment_at_once(tmp_path: Path) -> None:
    make_database(tmp_path / "mlflow.db")
    address = f"sqlite:///{tmp_path}/mlflow.db"
    make_experiment(mlflow.MlflowClient(address), "both", (tmp_path / "first").as_uri())
    made = make_experiment(EarlierLook(address), "both", (tmp_path / "second").as_uri())
    assert made.artifact_location == (tmp_path / "first").as_uri()
    with pytest.raises(mlflow.exceptions.MlflowException, match="name"):
        make_experiment(mlflow.MlflowClient(address), "", (tmp_path / "third").as_uri())


@pytest.mark.slow
def test_child_run_is_in_its_parents_experiment(server: MlflowServer) -> None:
    client = mlflow.MlflowClient(server.address)
    parent = RunAddress(server.address, client.create_run(client.create_experiment("other")).info.run_id)
    child = pickle.loads(pickle.dumps(start_child_run(parent, "member 1", {"seed": 1}, {"member": "1"})))
    assert isinstance(child, RunAddress)
    with MetricLogger(child) as logger:
        logger.log_metrics({"loss": 1.0}, 1)
    started = client.get_run(child.run_id)
    assert (started.info.run_name, started.info.status) == ("member 1", "RUNNING")
    assert started.info.experiment_id == client.get_run(parent.run_id).info.experiment_id
    assert started.data.params == {"seed": "1"}
    assert started.data.tags.items() >= {("mlflow.parentRunId", parent.run_id), ("member", "1")}
    assert started.data.metrics == {"loss": 1.0}
    end_run(child, "FAILED")
    assert client.get_run(child.run_id).info.status == "FAILED"


@pytest.mark.slow
def test_sibling_is_a_live_run_of_the_experiment(server: MlflowServer) -> None:
    client = mlflow.MlflowClient(server.address)
    own, other, deleted = (client.create_run("0").info.run_id for _ in range(3))
    elsewhere = client.create_run(client.create_experiment("elsewhere")).info.run_id
    client.delete_run(deleted)
    here = RunAddress(server.address, own)
    assert sibling(here, other) == RunAddress(server.address, other)
    assert [sibling(here, run_id) for run_id in (deleted, elsewhere, "a" * 32)] == [None] * 3


def test_child_on_an_unreachable_server_is_none(caplog: pytest.LogCaptureFixture) -> None:
    nowhere = RunAddress("http://127.0.0.1:1", "a" * 32)
    assert start_child_run(nowhere, "member 1", {}) is None
    end_run(nowhere, "FINISHED")
    assert [message.split(" (")[0] for message in caplog.messages] == [
        "MLflow does not record run 'member 1'",
        f"MLflow does not record that run {'a' * 32} is FINISHED",
    ]

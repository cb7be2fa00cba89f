"""Runs of MLflow by their address: the run of a thread, runs below and beside another, their parameters and ends."""

import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from glow_pipeline.tracking.failures import is_refusal, mlflow_may_fail, restrain_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TAG_LENGTH = 500
PARAMS_AT_ONCE = 100
NO_TAGS: Mapping[str, str] = MappingProxyType({})
SET_BY_MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID")  # in the environment, by its module-level functions

# MLflow's module-level functions take their address and experiment from variables of the whole process.
_MODULE_LEVEL = threading.RLock()
_THREAD = threading.local()  # `run`: its RunAddress


@dataclass(frozen=True)
class RunAddress:
    """The address of a run, by which other processes find it too."""

    tracking_uri: str
    run_id: str


def client_of(run: RunAddress) -> "MlflowClient":
    """Return a client of this run's server, whatever this process's own tracking address is."""
    restrain_mlflow()
    import mlflow

    return mlflow.MlflowClient(run.tracking_uri)


def current_run() -> RunAddress | None:
    """Return the run of this thread."""
    return getattr(_THREAD, "run", None)


def enter_run(run: RunAddress, experiment_id: str) -> None:
    """Make `run` the run of this thread, for `current_run` and for MLflow's own functions in a user's nodes."""
    import mlflow

    with mlflow_at(run.tracking_uri):
        mlflow.set_experiment(experiment_id=experiment_id)
        mlflow.start_run(run_id=run.run_id, nested=True)  # a notebook may have an active run of its own
    _THREAD.run = run


def leave_run(run: RunAddress, status: str) -> None:
    """End a run as FINISHED, FAILED or KILLED; it may be that of another thread, as when the process exits."""
    import mlflow

    if current_run() == run:
        _THREAD.run = None
    with mlflow_at(run.tracking_uri):
        active = mlflow.active_run()
        if active is not None and active.info.run_id == run.run_id:
            mlflow.end_run(status)
        else:
            client_of(run).set_terminated(run.run_id, status)


@contextmanager
def mlflow_at(tracking_uri: str) -> Iterator[None]:
    """Have MLflow's module-level functions use this address, and no other thread call them meanwhile.

    MLflow writes address and experiment into the environment, where the next run of this process would take them for
    the user's choice.
    """
    import mlflow

    with _MODULE_LEVEL:
        before = {name: os.environ.get(name) for name in SET_BY_MLFLOW}
        try:
            mlflow.set_tracking_uri(tracking_uri)
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def find_run(client: "MlflowClient", run_id: str, experiment_id: str) -> "Run | None":
    """Return the run, or None if it is deleted or of another database or experiment."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if is_refusal(error):
            return None
        raise
    gone = run.info.lifecycle_stage == "deleted" or run.info.experiment_id != experiment_id
    return None if gone else run


def sibling(run: RunAddress, run_id: str) -> RunAddress | None:
    """Return the run of this id beside `run`; None if there is none, or if MLflow cannot be reached."""
    other = None
    with mlflow_may_fail(f"this search below run {run_id}"):
        client = client_of(run)
        if find_run(client, run_id, client.get_run(run.run_id).info.experiment_id) is not None:
            other = RunAddress(run.tracking_uri, run_id)
    return other


def start_child_run(
    parent: RunAddress | None, name: str, params: Mapping[str, object], tags: Mapping[str, str] = NO_TAGS
) -> RunAddress | None:
    """Start a run below `parent`, in its experiment; None without a parent, or if MLflow cannot be reached."""
    if parent is None:
        return None
    child = None
    with mlflow_may_fail(f"run {name!r}"):
        client = client_of(parent)
        experiment = client.get_run(parent.run_id).info.experiment_id
        run = client.create_run(experiment, run_name=name, tags={**tags, "mlflow.parentRunId": parent.run_id})
        child = RunAddress(parent.tracking_uri, run.info.run_id)
        log_params(child, params)
    return child


def end_run(run: RunAddress | None, status: str, tags: Mapping[str, str] = NO_TAGS) -> None:
    """End a run of any process as FINISHED, FAILED or KILLED."""
    if run is not None:
        with mlflow_may_fail(f"that run {run.run_id} is {status}"):
            client = client_of(run)
            for key, value in tags.items():
                client.set_tag(run.run_id, key, value[:TAG_LENGTH])
            client.set_terminated(run.run_id, status)


def log_params(run: RunAddress, params: Mapping[str, object]) -> None:
    """Log parameters, as many at once as MLflow takes."""
    from mlflow.entities import Param

    entities = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(entities), PARAMS_AT_ONCE):
        client_of(run).log_batch(run.run_id, params=entities[start : start + PARAMS_AT_ONCE])


def metric_value(value: float) -> float:
    """Return what MLflow is given for a metric: NaN where it is infinite, which its databases keep as 1.8e308."""
    return float(value) if math.isfinite(value) else math.nan

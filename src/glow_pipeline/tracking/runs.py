"""Runs of MLflow: that of this command, those below it, and what to do where MLflow fails."""

import logging
import math
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from glow_pipeline.remote_storage import storage_failures

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

LOGGER = logging.getLogger(__name__)
TAG_LENGTH = 500
PARAMS_AT_ONCE = 100
NO_TAGS: Mapping[str, str] = MappingProxyType({})
SET_BY_MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID")  # in the environment, by its module-level functions
LOCAL_ARTIFACTS = re.compile(r"file:|(?![a-z][a-z0-9+.-]+:)", re.IGNORECASE)  # two letters or more: C:\ is a folder

# MLflow's module-level functions take their address and experiment from variables of the whole process.
_MODULE_LEVEL = threading.RLock()
_THREAD = threading.local()  # `run`: its RunAddress


@dataclass(frozen=True)
class RunAddress:
    """Where a run is; for another process as well."""

    tracking_uri: str
    run_id: str


def current_run() -> RunAddress | None:
    """Return the run of this thread."""
    return getattr(_THREAD, "run", None)


def enter_run(run: RunAddress, experiment_id: str) -> None:
    """Make `run` the run of this thread, for `current_run` and for MLflow's own functions in a user's nodes."""
    import mlflow

    with _mlflow_at(run.tracking_uri):
        mlflow.set_experiment(experiment_id=experiment_id)
        mlflow.start_run(run_id=run.run_id, nested=True)  # a notebook may have an active run of its own
    _THREAD.run = run


def leave_run(run: RunAddress, status: str) -> None:
    """End a run as FINISHED, FAILED or KILLED; it need not be that of this thread, which may be the exiting one."""
    import mlflow

    if current_run() == run:
        _THREAD.run = None
    with _mlflow_at(run.tracking_uri):
        active = mlflow.active_run()
        if active is not None and active.info.run_id == run.run_id:
            mlflow.end_run(status)
        else:
            client_of(run).set_terminated(run.run_id, status)


@contextmanager
def _mlflow_at(tracking_uri: str) -> Iterator[None]:
    """Have MLflow's module-level functions use this address, and no other thread call them meanwhile.

    MLflow notes address and experiment in the environment, where the next run of this process would take them for the
    user's choice.
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


def make_experiment(client: "MlflowClient", name: str, artifacts: str | None) -> "Experiment":
    """Return the experiment of this name; a new one keeps its artifacts at `artifacts`, or where its server does."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.get_experiment(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # a command typed at the same moment was faster
                raise
            found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage == "deleted":
        raise MlflowException(f"experiment {name!r} is deleted: restore it, or choose another")
    return found


def check_artifacts(client: "MlflowClient", run: "Run") -> None:
    """Ask the storage of the run's artifacts whether it answers, if it is not a local folder.

    Raises:
        MlflowException: it does not; the run has been ended as FAILED.
    """
    from mlflow.exceptions import MlflowException

    if LOCAL_ARTIFACTS.match(run.info.artifact_uri):
        return
    try:
        client.list_artifacts(run.info.run_id)
    except mlflow_failures() as error:
        client.set_terminated(run.info.run_id, "FAILED")
        raise MlflowException(f"artifacts at {run.info.artifact_uri}: {first_line(error)}") from error


def register_model(
    run: RunAddress, experiment_id: str, name: str, params: Mapping[str, object], tags: Mapping[str, object]
) -> str:
    """Have MLflow know a model that it does not store, as one that `run` made; return its id."""
    import mlflow

    with _mlflow_at(run.tracking_uri):
        logged = mlflow.create_external_model(
            name=name,
            source_run_id=run.run_id,
            params={key: str(value) for key, value in params.items()},
            tags={key: str(value) for key, value in tags.items()},
            experiment_id=experiment_id,
        )
    return logged.model_id


def start_child_run(
    parent: RunAddress | None, name: str, params: Mapping[str, object], tags: Mapping[str, str] = NO_TAGS
) -> RunAddress | None:
    """A running run below `parent`, in its experiment; None without a parent, or where MLflow cannot be reached."""
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


def log_params(run: RunAddress, params: Mapping[str, object]) -> None:
    """Log parameters, as many at once as MLflow takes."""
    from mlflow.entities import Param

    entities = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(entities), PARAMS_AT_ONCE):
        client_of(run).log_batch(run.run_id, params=entities[start : start + PARAMS_AT_ONCE])


def end_run(run: RunAddress | None, status: str, tags: Mapping[str, str] = NO_TAGS) -> None:
    """End a run of any process as FINISHED, FAILED or KILLED."""
    if run is not None:
        with mlflow_may_fail(f"that run {run.run_id} is {status}"):
            client = client_of(run)
            for key, value in tags.items():
                client.set_tag(run.run_id, key, value[:TAG_LENGTH])
            client.set_terminated(run.run_id, status)


def metric_value(value: float) -> float:
    """Return what MLflow is given for a metric: NaN where it is infinite, which its databases keep as 1.8e308."""
    return float(value) if math.isfinite(value) else math.nan


def old_run(client: "MlflowClient", run_id: str, experiment_id: str) -> "Run | None":
    """The run, or None if it is not there any more: deleted, or of another database or experiment."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if refused(error):
            return None
        raise
    gone = run.info.lifecycle_stage == "deleted" or run.info.experiment_id != experiment_id
    return None if gone else run


def sibling(run: RunAddress, run_id: str) -> RunAddress | None:
    """The run of this id beside `run`; None if it is not there, or where MLflow cannot be reached."""
    other = None
    with mlflow_may_fail(f"this search below run {run_id}"):
        client = client_of(run)
        if old_run(client, run_id, client.get_run(run.run_id).info.experiment_id) is not None:
            other = RunAddress(run.tracking_uri, run_id)
    return other


@contextmanager
def mlflow_may_fail(what: str) -> Iterator[None]:
    """Warn that `what` is not recorded, and go on, where MLflow fails within this block."""
    try:
        yield
    except mlflow_failures() as error:
        LOGGER.warning("MLflow does not record %s (%s)", what, first_line(error))


def mlflow_failures() -> tuple[type[Exception], ...]:
    """Return what MLflow raises when a server, a database or an artifact storage fails; requests raises OSErrors."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # as it is, if the database cannot even be opened

    return MlflowException, SQLAlchemyError, *storage_failures()


def restrain_mlflow() -> None:
    """Fewer tries and shorter waits than MLflow's own, and no log lines from below it.

    By itself MLflow tries each call eight times for up to two minutes each, which is for programs that have nothing
    else to do. Two tries of six seconds tell in less than 15 that an address does not answer. What fails is told in
    our own words, once.
    """
    os.environ.setdefault(
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"
    )  # at the end, with a password in the address
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "6")
    import mlflow  # noqa: F401  # sets levels itself when it is imported

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def refused(error: Exception) -> bool:
    """Whether MLflow was reached and would say the same again. A proxy's own 404 is not MLflow's."""
    return getattr(error, "error_code", None) in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


def first_line(error: Exception) -> str:
    """Return an error's message in one line without passwords; of a database's failure the innermost message."""
    cause: BaseException | None = error
    while cause is not None and not hasattr(cause, "orig"):
        cause = cause.__cause__
    return without_password((str(getattr(cause, "orig", error)).splitlines() or [type(error).__name__])[0])


def without_password(text: str) -> str:
    """Replace the password of each address in the text."""
    return re.sub(r"(://[^/\s:@]*):[^/\s@]*@", r"\1:***@", text)


def client_of(run: RunAddress) -> "MlflowClient":
    """A client of this run's server, whatever this process's own tracking address is."""
    restrain_mlflow()
    import mlflow

    return mlflow.MlflowClient(run.tracking_uri)

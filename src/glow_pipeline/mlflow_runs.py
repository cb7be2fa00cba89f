"""Runs of MLflow: that of this command, those below it, and what to do where MLflow fails."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LOGGER = logging.getLogger(__name__)
NO_TAGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class RunAddress:
    """Where a run is; for another process as well."""

    tracking_uri: str
    run_id: str


def current_run() -> RunAddress | None:
    """The run that is active in this thread."""
    if "mlflow" not in sys.modules:  # then nobody has started one, and the import would take seconds
        return None
    import mlflow

    run = mlflow.active_run()
    return None if run is None else RunAddress(mlflow.get_tracking_uri(), run.info.run_id)


def make_experiment(name: str, artifacts: str) -> None:
    """Have an experiment of this name, its artifacts at the address `artifacts`; one that is there stays as it is."""
    import mlflow

    if mlflow.get_experiment_by_name(name) is None:
        try:
            mlflow.create_experiment(name, artifact_location=artifacts)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # a command typed at the same moment was faster
                raise


def start_child_run(
    parent: RunAddress | None, name: str, params: Mapping[str, object], tags: Mapping[str, str] = NO_TAGS
) -> RunAddress | None:
    """A running run below `parent`, in its experiment; None without a parent, or where MLflow cannot be reached."""
    if parent is None:
        return None
    child = None
    with mlflow_may_fail(f"run {name!r}"):
        from mlflow.entities import Param

        client = client_of(parent)
        experiment = client.get_run(parent.run_id).info.experiment_id
        run = client.create_run(experiment, run_name=name, tags={**tags, "mlflow.parentRunId": parent.run_id})
        child = RunAddress(parent.tracking_uri, run.info.run_id)
        client.log_batch(child.run_id, params=[Param(key, str(value)) for key, value in params.items()])
    return child


def end_run(run: RunAddress | None, status: str) -> None:
    """End a run of any process as FINISHED, FAILED or KILLED."""
    if run is not None:
        with mlflow_may_fail(f"that run {run.run_id} is {status}"):
            client_of(run).set_terminated(run.run_id, status)


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
    """What MLflow raises where a server or a database fails it; those of requests are OSErrors."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # as it is, if the database cannot even be opened

    return MlflowException, OSError, SQLAlchemyError


def restrain_mlflow() -> None:
    """Fewer tries and shorter waits than MLflow's own, and no log lines from below it.

    By itself MLflow tries each call eight times for up to two minutes each, which is for programs that have nothing
    else to do. Two tries of six seconds tell in less than 15 that an address does not answer. What fails is told in
    our own words, once.
    """
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
    """What went wrong, in one line; of a database's failure its own words, which others are wrapped around."""
    cause: BaseException | None = error
    while cause is not None and not hasattr(cause, "orig"):
        cause = cause.__cause__
    return (str(getattr(cause, "orig", error)).splitlines() or [type(error).__name__])[0]


def client_of(run: RunAddress) -> "MlflowClient":
    """A client of this run's server, whatever this process's own tracking address is."""
    restrain_mlflow()
    import mlflow

    return mlflow.MlflowClient(run.tracking_uri)

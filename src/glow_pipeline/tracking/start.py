"""The start of a command's MLflow run, or one line about why there can be none."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.remote_storage import has_scheme
from glow_pipeline.startup import without_gc
from glow_pipeline.tracking.command_run import CommandRun
from glow_pipeline.tracking.destination import DEFAULT_ARTIFACTS, Destination
from glow_pipeline.tracking.experiment import describe_experiment
from glow_pipeline.tracking.failures import (
    be_patient,
    failure_line,
    mlflow_failures,
    mlflow_may_fail,
    restrain_mlflow,
)
from glow_pipeline.tracking.moved_artifacts import follow_artifacts
from glow_pipeline.tracking.new_database import make_database
from glow_pipeline.tracking.pages import Pages, is_server, server_of
from glow_pipeline.tracking.resumption import describe_again, times_resumed
from glow_pipeline.tracking.runs import RunAddress, end_run, enter_run, find_run, log_params

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

logger = logging.getLogger(__name__)


@without_gc()  # MLflow imports its server, pandas and SQLAlchemy
def start_run(
    place: Destination,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
    resumed_run_id: str | None = None,
) -> CommandRun:
    """Start a run and make it this thread's, or resume an earlier one.

    Args:
        place: where it is recorded.
        name, params, tags: for a new run; a resumed run keeps its own, and records those that have changed.
        resumed_run_id: the run to resume; if it is gone, a new one is started, with a warning.

    Raises:
        GlowPipelineError: MLflow or the storage of its artifacts does not answer; the line names the address.
    """
    client, experiment = open_experiment(place)
    address = None
    with _failure_in_one_line(place):
        try:
            resumed = None if resumed_run_id is None else _resumed_run(client, resumed_run_id, experiment.experiment_id)
            # mlflow.start_run would import IPython, a second, to find out whether this is a notebook.
            run = resumed or client.create_run(experiment.experiment_id, run_name=name, tags=dict(tags))
            address = RunAddress(place.tracking_uri, run.info.run_id)
            check_artifacts(client, run)
            enter_run(address, experiment.experiment_id)
        except mlflow_failures():
            end_run(address, "FAILED")
            raise
    server = server_of(place.tracking_uri, place.ui_port)
    pages = Pages(server, experiment.experiment_id, needs_ui=not is_server(place.tracking_uri))
    report_place(experiment, place, pages.run(address.run_id))
    describe_experiment(client, experiment)
    with mlflow_may_fail("the run's parameters"):
        log_params(address, params if resumed is None else describe_again(client, resumed, params, tags))
    return CommandRun(address, pages, 0 if resumed is None else times_resumed(resumed) + 1)


@without_gc()
def open_experiment(place: Destination) -> "tuple[MlflowClient, Experiment]":
    """Return a client of the place and its experiment, which is made if there is none.

    Raises:
        GlowPipelineError: MLflow does not answer; the line names the address.
    """
    restrain_mlflow()
    be_patient()  # an earlier run of this process may have failed
    import mlflow

    with _failure_in_one_line(place):
        if place.database is not None:
            make_database(place.database)
        client = mlflow.MlflowClient(place.tracking_uri)
        experiment = make_experiment(client, place.experiment, place.artifacts)
        if (moved := places_of_moved_artifacts(experiment, place)) is not None:
            follow_artifacts(*moved)
            experiment = client.get_experiment(experiment.experiment_id)
    return client, experiment


@contextmanager
def _failure_in_one_line(place: Destination) -> Iterator[None]:
    try:
        yield
    except mlflow_failures() as error:
        raise GlowPipelineError(
            f"{place.shown}: no run could be started there "
            f"({failure_line(error)}); correct the address, or set enabled: false"
        ) from None


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
    """Check that the storage of the run's artifacts answers, if it is not a local folder.

    Raises:
        MlflowException: it does not; the run has been ended as FAILED.
    """
    from mlflow.exceptions import MlflowException

    if _is_local(run.info.artifact_uri):
        return
    try:
        client.list_artifacts(run.info.run_id)
    except mlflow_failures() as error:
        client.set_terminated(run.info.run_id, "FAILED")
        raise MlflowException(f"artifacts at {run.info.artifact_uri}: {failure_line(error)}") from error


def report_place(experiment: "Experiment", place: Destination, page: str) -> None:
    """Log the run's page on a server, and the place of its artifacts if that is not the chosen or expected one."""
    if is_server(place.tracking_uri):
        logger.info("MLflow: %s", page)
    if place.artifacts == experiment.artifact_location:
        return
    if place.artifacts is None:
        if _is_local(experiment.artifact_location):
            logger.warning(
                "%s: experiment %s keeps its artifacts in %s of whichever computer writes them; for a place of the "
                "server's own, start it with --artifacts-destination and set another `experiment`.",
                *(place.shown, experiment.name, experiment.artifact_location),
            )
    elif not place.artifacts_by_default:
        logger.warning(
            "mlflow.yml: artifacts=%s: MLflow's experiment %s keeps its artifacts in %s, since it was created; for "
            "another place, set another `experiment` in conf/local/mlflow.yml.",
            *(place.artifacts, experiment.name, experiment.artifact_location),
        )
    elif place.is_own:
        logger.warning(
            "MLflow's experiment %s keeps its artifacts in %s, not in %s: the project was moved or copied. Those "
            "of this run go there; for a place of their own, set another `experiment` in conf/local/mlflow.yml.",
            *(experiment.name, experiment.artifact_location, place.artifacts),
        )


def _resumed_run(client: "MlflowClient", run_id: str, experiment_id: str) -> "Run | None":
    found = find_run(client, run_id, experiment_id)
    if found is None:
        logger.warning("MLflow run %s of the training that is resumed is gone; a new one is started", run_id)
    return found


def places_of_moved_artifacts(experiment: "Experiment", place: Destination) -> tuple[Path, str, str] | None:
    """Return the database, and the old and new place of artifacts that were moved or copied with the project."""
    now, before, database = place.artifacts, experiment.artifact_location, place.database
    if database is None or now is None or now == before or not place.artifacts_by_default:
        return None
    moved = database.parent == place.project and (place.project / DEFAULT_ARTIFACTS).is_dir()
    return (database, before, now) if moved and before.endswith(f"/{DEFAULT_ARTIFACTS}") else None


def _is_local(artifacts: str) -> bool:
    return artifacts.lower().startswith("file:") or not has_scheme(artifacts)

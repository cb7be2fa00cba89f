"""MLflow runs of stored results, by the version of the command that made both, and their removal."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from glow_pipeline.tracking.destination import Destination
from glow_pipeline.tracking.failures import failure_line, mlflow_failures, restrain_mlflow
from glow_pipeline.tracking.moved_artifacts import follow_artifacts
from glow_pipeline.tracking.start import places_of_moved_artifacts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

PAGE = 1000
PARENT = "mlflow.parentRunId"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredRun:
    """The MLflow run of a command, with the runs below it.

    Attributes:
        run_id, name, status: of the run; it is RUNNING while one below it is, as trials of another command may be.
        children: ids of the runs below it.
        stored_model: version of the stored model that the command used; None: none.
        models: ids of the models that the run has logged.
        artifacts: local folders of the artifacts of all of these; those on a server are not among them.
        registered: names with versions of the registered models that the run has made.
    """

    run_id: str
    name: str
    status: str
    children: tuple[str, ...] = ()
    stored_model: str | None = None
    models: tuple[str, ...] = ()
    artifacts: tuple[Path, ...] = ()
    registered: tuple[str, ...] = ()


def runs_by_version(place: Destination) -> dict[str, StoredRun] | None:
    """Return the runs of this project's commands by their versions; None if MLflow does not answer, with a warning."""
    if place.database is not None and not place.database.is_file():
        return {}
    restrain_mlflow()
    import mlflow

    try:
        client = mlflow.MlflowClient(place.tracking_uri)
        experiment = client.get_experiment_by_name(place.experiment)
        if experiment is None:
            return {}
        moved = places_of_moved_artifacts(experiment, place)
        if moved is not None and not follow_artifacts(*moved):  # else those of the original would be removed
            return None
        return _runs(client, experiment.experiment_id)
    except mlflow_failures() as error:
        logger.warning(
            "%s: MLflow does not answer (%s); what its runs need is unknown, and no run is removed",
            *(place.shown, failure_line(error)),
        )
        return None


def remove_runs(place: Destination, runs: Iterable[StoredRun]) -> str | None:
    """Delete runs, with the models that they have logged and, in a database in the project's folder, all artifacts.

    Does there what `mlflow gc` does, for these runs alone: that command also purges whatever else a user has deleted.
    In a database or on a server that other projects may share, deleted runs can be restored.

    Returns:
        What stays, in a sentence; None: nothing does.

    Raises:
        one of `failures.mlflow_failures()`: MLflow or the storage of artifacts does not answer.
    """
    import mlflow

    client = mlflow.MlflowClient(place.tracking_uri)
    store = client._tracking_client.store
    purges = place.is_own and hasattr(store, "_hard_delete_run") and hasattr(store, "_hard_delete_logged_model")
    for run in runs:
        for model_id in run.models:
            location = client.get_logged_model(model_id).artifact_location
            client.delete_logged_model(model_id)
            if purges:
                _delete_artifacts(location)
                store._hard_delete_logged_model(model_id)
        for run_id in (*run.children, run.run_id):
            location = client.get_run(run_id).info.artifact_uri
            client.delete_run(run_id)
            if purges:
                _delete_artifacts(location)
                store._hard_delete_run(run_id)
    if purges:
        return None
    return f"{place.shown}: runs are deleted there; their artifacts stay until its administrator types `mlflow gc`"


def _delete_artifacts(location: str) -> None:
    """Delete the artifacts at an address, and the folder of a run on this disk that is empty then."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(location).delete_artifacts()
    folder = _local(location)
    if folder is not None and folder.parent.is_dir() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def _runs(client: "MlflowClient", experiment: str) -> dict[str, StoredRun]:
    found = list(_all_runs(client, experiment))
    children: dict[str, list[Run]] = {}
    for run in found:
        if (parent := run.data.tags.get(PARENT)) is not None:
            children.setdefault(parent, []).append(run)
    models: dict[str, list[tuple[str, str]]] = {}
    for model in _all_models(client, experiment):
        models.setdefault(str(model.source_run_id), []).append((model.model_id, model.artifact_location))
    registered: dict[str, list[str]] = {}
    for version in client.search_model_versions():
        registered.setdefault(str(version.run_id), []).append(f"{version.name} version {version.version}")
    result: dict[str, StoredRun] = {}
    for run in found:
        session = run.data.tags.get("kedro_session")
        if session is None or PARENT in run.data.tags:
            continue
        below = children.get(run.info.run_id, [])
        ids = [run.info.run_id, *(child.info.run_id for child in below)]
        logged = [each for run_id in ids for each in models.get(run_id, [])]
        places = [*(each.info.artifact_uri for each in (run, *below)), *(location for _, location in logged)]
        result[session] = StoredRun(
            run.info.run_id,
            str(run.info.run_name),
            "RUNNING" if any(each.info.status == "RUNNING" for each in below) else run.info.status,
            tuple(ids[1:]),
            run.data.params.get("stored_model"),
            tuple(model_id for model_id, _ in logged),
            tuple(path for place in places if (path := _local(place)) is not None),
            tuple(name for run_id in ids for name in registered.get(run_id, [])),
        )
    return result


def _all_runs(client: "MlflowClient", experiment: str) -> Iterator["Run"]:
    token: str | None = None
    while True:
        page = client.search_runs([experiment], max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _all_models(client: "MlflowClient", experiment: str) -> Iterator["LoggedModel"]:
    token: str | None = None
    while True:
        page = client.search_logged_models([experiment], max_results=50, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _local(uri: str) -> Path | None:
    """Return the folder of an address on this disk: that of all artifacts of a run, or of a model."""
    parsed = urlparse(uri)
    if parsed.scheme not in ("", "file"):
        return None
    return Path(unquote(parsed.path))

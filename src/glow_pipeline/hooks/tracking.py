"""One MLflow run for each `kedro run`."""

import atexit
import hashlib
import logging
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.hooks.artifacts import artifact_files
from glow_pipeline.hooks.provenance import provenance_of, user
from glow_pipeline.hooks.resumption import describe_again
from glow_pipeline.hooks.stored_model import version_of
from glow_pipeline.hooks.termination import ExitOnSignals
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import Parameters
from glow_pipeline.startup import without_gc
from glow_pipeline.tracking.destination import DEFAULT_ARTIFACTS, Destination, TrackingConfig, destination
from glow_pipeline.tracking.logged_parameters import StoredModel, logged_parameters, model_name
from glow_pipeline.tracking.moved_artifacts import follow_artifacts
from glow_pipeline.tracking.new_database import make_database
from glow_pipeline.tracking.runs import (
    LOCAL_ARTIFACTS,
    RunAddress,
    check_artifacts,
    client_of,
    end_run,
    enter_run,
    first_line,
    leave_run,
    log_params,
    make_experiment,
    metric_value,
    mlflow_failures,
    mlflow_may_fail,
    old_run,
    register_model,
    restrain_mlflow,
    without_password,
)
from glow_pipeline.training.model_file import Provenance, TrainedGlow
from glow_pipeline.training.resume import Training

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

LOGGER = logging.getLogger(__name__)
TAGGED_VERSIONS = ("python", "glow_pipeline", "kedro", "mlflow", "numpy", "torch", "torchvision")
RESUMED = "resumed_mlflow_run"  # catalog entry


class TrackingHook:
    """Writes down what a run was asked, what it read, what it made, and how it truly ended.

    The run has a speaking name, the parameters flattened, the metrics by step, the input tables with
    a digest of their record, and as artifacts the catalog entries whose `metadata.mlflow` names a folder.
    A resumed training goes on in the run that the catalog's `resumed_mlflow_run` names.

    Where MLflow cannot be reached, a run does not start; one that has started goes on, and says what is not recorded.
    Everything is recorded by the run's address and id, since other threads of the process may have runs of their own.
    """

    def __init__(self) -> None:
        self._run: RunAddress | None = None
        self._model_id: str | None = None  # of the model that this run's figures are about
        self._signals = ExitOnSignals()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._config = TrackingConfig.of(context.config_loader["mlflow"])
        self._project = context.project_path

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        self._signals.install()
        self._catalog = catalog
        provenance = provenance_of(run_params["run_id"], self._project)
        if self._config.enabled and not _only_helps(pipeline, catalog):
            self._start(run_params, pipeline, provenance)
            provenance = provenance.model_copy(update={"mlflow_run_id": self._run.run_id if self._run else None})
        catalog.save("provenance", provenance)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        if self._run is None or dataset_name in self._seen:
            return
        self._seen.add(dataset_name)
        if isinstance(data, ImageTable | TrainedGlow):
            with mlflow_may_fail(f"that the run uses {dataset_name}"):
                if isinstance(data, ImageTable):
                    self._log_input(self._run, dataset_name, data)
                else:
                    self._link_model(self._run, data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        run = self._run
        if run is None:
            return
        if isinstance(data, TrainedGlow):
            with mlflow_may_fail(dataset_name):
                self._register_model(run, data)
        dataset = self._catalog[dataset_name]
        folder = (getattr(dataset, "metadata", None) or {}).get("mlflow")
        if folder is None or not isinstance(dataset, AbstractVersionedDataset):
            return
        with mlflow_may_fail(f"the file of {dataset_name}"), artifact_files(dataset) as files:
            for file in files:
                client_of(run).log_artifact(run.run_id, str(file), folder)
        if folder == "metrics":
            with mlflow_may_fail(f"the figures of {dataset_name}"):
                self._log_figures(run, {k: v for k, v in data.items() if isinstance(v, int | float)})

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._end("FINISHED")

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: Exception) -> None:
        if self._run is not None:
            with mlflow_may_fail("the error that ends the run"):
                client_of(self._run).set_tag(self._run.run_id, "error", f"{type(error).__name__}: {error}"[:500])
        self._end("FAILED")

    def abandon(self) -> None:
        self._end("KILLED")

    @without_gc()  # MLflow imports its server, pandas and SQLAlchemy
    def _start(self, run_params: dict[str, Any], pipeline: Pipeline, provenance: Provenance) -> None:
        restrain_mlflow()
        import mlflow

        parameters = Parameters.model_validate(self._catalog.load("parameters"))
        name = "+".join(sorted(run_params["pipeline_names"] or ["all"]))  # Kedro hands them over in no fixed order
        tags = _tags(name, parameters, provenance)
        name = f"{name} {parameters.image_selection.key}"
        if "out_images" in pipeline.all_outputs():
            tags["out_dataset"] = parameters.out_image_selection.key
            name = f"{name} vs {parameters.out_image_selection.key}"
        place, address = destination(self._config, self._project, os.environ), None
        try:
            if place.database is not None:
                make_database(place.database)
            client = mlflow.MlflowClient(place.tracking_uri)
            experiment = make_experiment(client, place.experiment, place.artifacts)
            if (before := _left_behind(experiment, place, self._project)) is not None:
                follow_artifacts(*before)
                experiment = client.get_experiment(experiment.experiment_id)
            old = self._old_run(client, experiment.experiment_id)
            # start_run itself would import IPython, a second, to find out whether this is a notebook.
            run = old or client.create_run(experiment.experiment_id, run_name=name, tags=tags)
            address = RunAddress(place.tracking_uri, run.info.run_id)
            check_artifacts(client, run)
            enter_run(address, experiment.experiment_id)
        except mlflow_failures() as error:
            end_run(address, "FAILED")
            raise click.ClickException(
                f"{place.shown}: no run could be started there "
                f"({first_line(error)}); mend the address, or set enabled: false"
            ) from None
        _say_where(experiment, place, address, self._project)
        self._run, self._experiment = address, experiment.experiment_id
        self._seen: set[str] = set()
        # MLflow's own atexit would call an interrupted run FINISHED; this one, registered later, comes first.
        atexit.register(self._end, "KILLED")
        with mlflow_may_fail("the run's parameters"):
            params = logged_parameters(parameters, self._stored(pipeline))
            lacking = params if old is None else describe_again(client, old, params, tags)
            log_params(address, lacking)

    def _old_run(self, client: "MlflowClient", experiment_id: str) -> "Run | None":
        """The run that a resumed training goes on in."""
        run_id = self._catalog.load(RESUMED) if self._catalog.exists(RESUMED) else None
        if run_id is None:
            return None
        found = old_run(client, run_id, experiment_id)
        if found is None:
            LOGGER.warning("MLflow run %s of the training that is resumed is gone; a new one is begun", run_id)
        return found

    def _end(self, status: str) -> None:
        self._signals.restore()
        if self._run is not None:
            run, self._run = self._run, None
            atexit.unregister(self._end)
            with mlflow_may_fail(f"that the run is {status}"):
                leave_run(run, status)

    def _log_figures(self, run: RunAddress, figures: dict[str, float]) -> None:
        """Once: a command that goes on in an old run may have been cut off after this."""
        from mlflow.entities import Metric

        step, client, now = int(figures.get("steps", 0)), client_of(run), int(1000 * time.time())
        lacking = [
            Metric(key, metric_value(value), now, step, model_id=self._model_id, run_id=run.run_id)
            for key, value in figures.items()
            if all(past.step != step for past in client.get_metric_history(run.run_id, key))
        ]
        client.log_batch(run.run_id, metrics=lacking)

    def _log_input(self, run: RunAddress, name: str, table: ImageTable) -> None:
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
        from mlflow.entities import DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        # The digest is the record's: it covers the source files' checksums, and reads no pixel.
        record = table.record
        digest = hashlib.sha256(record.model_dump_json().encode()).hexdigest()[:16]
        source = LocalArtifactDatasetSource(table.folder.as_uri())
        data = MetaDataset(source, name=f"{record.name} {record.split} {record.image_format.key}", digest=digest)  # type: ignore[abstract]
        read = DatasetInput(data._to_mlflow_entity(), [InputTag(MLFLOW_DATASET_CONTEXT, name)])
        client_of(run).log_inputs(run.run_id, [read])

    def _register_model(self, run: RunAddress, model: TrainedGlow) -> None:
        path = cast(GlowModelDataset, self._catalog["glow_model"]).load_path
        self._model_id = register_model(
            run,
            self._experiment,
            model_name(model.record),
            params=model.record.flow,
            tags={"path": os.path.relpath(path, self._project), "images": model.record.image_format.key},
        )
        client_of(run).log_text(run.run_id, model.record.model_dump_json(indent=2), "model/record.json")

    def _stored(self, pipeline: Pipeline) -> StoredModel | None:
        """Return the stored model that the run uses, if it uses one."""
        if "glow_model" not in pipeline.inputs():
            return None
        dataset = cast(GlowModelDataset, self._catalog["glow_model"])
        return StoredModel(version_of(dataset), dataset.record())

    def _link_model(self, run: RunAddress, model: TrainedGlow) -> None:
        """Let this run's metrics count for the model that it uses."""
        client, name = client_of(run), model_name(model.record)
        client.set_tag(run.run_id, "model", name)
        found = client.search_logged_models([self._experiment], filter_string=f"name='{name}'", max_results=1)
        if found:
            self._model_id = found[0].model_id


def _say_where(experiment: "Experiment", place: Destination, run: RunAddress, project: Path) -> None:
    """Give the run's page on a server, and the place of its artifacts if that is not the chosen or expected one."""
    if place.tracking_uri.startswith("http"):
        server = without_password(place.tracking_uri).rstrip("/")
        LOGGER.info("MLflow: %s/#/experiments/%s/runs/%s", server, experiment.experiment_id, run.run_id)
    if place.artifacts == experiment.artifact_location:
        return
    if place.artifacts is None:
        if LOCAL_ARTIFACTS.match(experiment.artifact_location):
            LOGGER.warning(
                "%s: experiment %s keeps its artifacts in %s of whichever computer writes them; for a place of the "
                "server's own, start it with --artifacts-destination and set another `experiment`.",
                *(place.shown, experiment.name, experiment.artifact_location),
            )
    elif not place.artifacts_by_default:
        LOGGER.warning(
            "mlflow.yml: artifacts=%s: MLflow's experiment %s keeps its artifacts in %s, since it was created; for "
            "another place, set another `experiment` in conf/local/mlflow.yml.",
            *(place.artifacts, experiment.name, experiment.artifact_location),
        )
    elif place.database is not None and place.database.is_relative_to(project):  # else other projects share it
        LOGGER.warning(
            "MLflow's experiment %s keeps its artifacts in %s, not in %s: the project was moved or copied. Those "
            "of this run go there; for a place of their own, set another `experiment` in conf/local/mlflow.yml.",
            *(experiment.name, experiment.artifact_location, place.artifacts),
        )


def _left_behind(experiment: "Experiment", place: Destination, project: Path) -> tuple[Path, str, str] | None:
    """Return the database, and the old and new place of artifacts that came along with a moved or copied project."""
    now, before, database = place.artifacts, experiment.artifact_location, place.database
    if now is None or now == before or not place.artifacts_by_default or not before.endswith(f"/{DEFAULT_ARTIFACTS}"):
        return None
    came_along = database is not None and database.parent == project and (project / DEFAULT_ARTIFACTS).is_dir()
    return (database, before, now) if came_along and database is not None else None


def _only_helps(pipeline: Pipeline, catalog: DataCatalog) -> bool:
    """Whether this is one of several machines that train together, and not the one that keeps the records."""
    if "training" not in pipeline.inputs() or not catalog.exists("training"):
        return False
    return cast(Training, catalog.load("training")).folder is None


def _tags(pipelines: str, parameters: Parameters, provenance: Provenance) -> dict[str, str]:
    """What is known, as tags."""
    tags = {
        "pipeline": pipelines,
        "dataset": parameters.image_selection.key,
        "kedro_session": provenance.kedro_session,
        "kedro_command": shlex.join(["kedro", *sys.argv[1:]]),
        "git_commit": provenance.git_commit,
        "git_dirty": provenance.git_dirty,
        "mlflow.user": user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": sys.argv[0],
        "mlflow.source.git.commit": provenance.git_commit,
        **{f"version.{package}": provenance.versions.get(package) for package in TAGGED_VERSIONS},
    }
    return {key: str(value) for key, value in tags.items() if value is not None}  # a server takes nothing but text

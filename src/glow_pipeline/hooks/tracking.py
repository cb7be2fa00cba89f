"""One MLflow run for each `kedro run`."""

import atexit
import hashlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline import Pipeline
from pydantic import BaseModel, ConfigDict, ValidationError

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.garbage import no_garbage_here
from glow_pipeline.hooks.artifacts import artifact_files
from glow_pipeline.hooks.logged_parameters import StoredModel, logged_parameters, model_name
from glow_pipeline.hooks.new_database import make_database
from glow_pipeline.hooks.provenance import provenance_of, user
from glow_pipeline.hooks.resumption import describe_again
from glow_pipeline.hooks.stored_model import version_of
from glow_pipeline.hooks.termination import ExitOnSignals
from glow_pipeline.images.table import ImageTable
from glow_pipeline.mlflow_runs import (
    first_line,
    make_experiment,
    mlflow_failures,
    mlflow_may_fail,
    old_run,
    restrain_mlflow,
)
from glow_pipeline.parameters import Parameters
from glow_pipeline.resuming import Training
from glow_pipeline.training.stored import Provenance, TrainedGlow

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LOGGER = logging.getLogger(__name__)
TAGGED_VERSIONS = ("python", "glow_pipeline", "kedro", "mlflow", "numpy", "torch", "torchvision")
RESUMED = "resumed_mlflow_run"  # catalog entry
SQLITE = "sqlite:///"


class TrackingConfig(BaseModel):
    """conf/base/mlflow.yml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool
    tracking_uri: str
    experiment: str
    artifacts: str


class TrackingHook:
    """Writes down what a run was asked, what it read, what it made, and how it truly ended.

    The run has a speaking name, the parameters flattened, the metrics by step, the input tables with
    a digest of their record, and as artifacts the catalog entries whose `metadata.mlflow` names a folder.
    A resumed training goes on in the run that the catalog's `resumed_mlflow_run` names.

    Where MLflow cannot be reached, a run does not start; one that has started goes on, and says what is not recorded.
    """

    def __init__(self) -> None:
        self._run_id: str | None = None
        self._signals = ExitOnSignals()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        try:
            self._config = TrackingConfig.model_validate(context.config_loader["mlflow"])
        except ValidationError as invalid:
            problem = invalid.errors()[0]
            raise click.ClickException(f"mlflow.yml: {problem['loc'][0]}: {problem['msg']}") from None
        self._project = context.project_path

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        self._end("KILLED")  # a run of this process that was interrupted and never ended
        self._signals.install()
        self._catalog = catalog
        provenance = provenance_of(run_params["run_id"], self._project)
        if self._config.enabled and not _only_helps(pipeline, catalog):
            self._start(run_params, pipeline, provenance)
            provenance = provenance.model_copy(update={"mlflow_run_id": self._run_id})
        catalog.save("provenance", provenance)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        if self._run_id is None or dataset_name in self._seen:
            return
        self._seen.add(dataset_name)
        if isinstance(data, ImageTable | TrainedGlow):
            with mlflow_may_fail(f"that the run uses {dataset_name}"):
                self._log_input(dataset_name, data) if isinstance(data, ImageTable) else self._link_model(data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        if self._run_id is None:
            return
        import mlflow

        if isinstance(data, TrainedGlow):
            with mlflow_may_fail(dataset_name):
                self._register_model(data)
        dataset = self._catalog[dataset_name]
        folder = (getattr(dataset, "metadata", None) or {}).get("mlflow")
        if folder is None or not isinstance(dataset, AbstractVersionedDataset):
            return
        with mlflow_may_fail(f"the file of {dataset_name}"):
            for file in artifact_files(dataset):
                mlflow.log_artifact(str(file), folder)
        if folder == "metrics":
            with mlflow_may_fail(f"the figures of {dataset_name}"):
                self._log_figures({k: v for k, v in data.items() if isinstance(v, int | float)})

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._end("FINISHED")

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: Exception) -> None:
        if self._run_id is not None:
            import mlflow

            with mlflow_may_fail("the error that ends the run"):
                mlflow.set_tag("error", f"{type(error).__name__}: {error}"[:500])
        self._end("FAILED")

    @no_garbage_here()  # MLflow imports its server, pandas and SQLAlchemy
    def _start(self, run_params: dict[str, Any], pipeline: Pipeline, provenance: Provenance) -> None:
        restrain_mlflow()
        import mlflow

        parameters = Parameters.model_validate(self._catalog.load("parameters"))
        name = "+".join(sorted(run_params["pipeline_names"] or ["all"]))  # Kedro hands them over in no fixed order
        tags = _tags(name, parameters, provenance)
        name = f"{name} {parameters.image_set.key}"
        if "out_images" in pipeline.all_outputs():
            tags["out_dataset"] = parameters.out_image_set.key
            name = f"{name} vs {parameters.out_image_set.key}"
        try:
            uri = _absolute_uri(self._config.tracking_uri, self._project)
            if uri.startswith(SQLITE):
                make_database(Path(uri.removeprefix(SQLITE)))
            mlflow.set_tracking_uri(uri)
            artifacts = (self._project / self._config.artifacts).as_uri()
            make_experiment(self._config.experiment, artifacts)
            found = mlflow.set_experiment(self._config.experiment)
            experiment = found.experiment_id
            client = mlflow.MlflowClient()
            old = self._old_run(client, experiment)
            # start_run itself would import IPython, a second, to find out whether this is a notebook.
            run = old or client.create_run(experiment, run_name=name, tags=tags)
            mlflow.start_run(run_id=run.info.run_id)
        except mlflow_failures() as error:
            self._signals.restore()
            raise click.ClickException(
                f"mlflow.yml: tracking_uri={self._config.tracking_uri}: no run could be started there "
                f"({first_line(error)}); mend the address, or set enabled: false"
            ) from None
        if found.artifact_location != artifacts:
            LOGGER.warning(
                "MLflow's experiment %s keeps its artifacts in %s, not in %s: the project was moved or copied. Those "
                "of this run go there; for a place of their own, set another `experiment` in conf/local/mlflow.yml.",
                *(found.name, found.artifact_location, artifacts),
            )
        self._run_id = run.info.run_id
        self._seen: set[str] = set()
        # MLflow's own atexit would call an interrupted run FINISHED; this one, registered later, comes first.
        atexit.register(self._end, "KILLED")
        with mlflow_may_fail("the run's parameters"):
            params = logged_parameters(parameters, self._stored(pipeline))
            mlflow.log_params(params if old is None else describe_again(client, old, params, tags))

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
        if self._run_id is not None:
            import mlflow

            self._run_id = None
            atexit.unregister(self._end)
            with mlflow_may_fail(f"that the run is {status}"):
                mlflow.end_run(status)
            mlflow.clear_active_model()

    def _log_figures(self, figures: dict[str, float]) -> None:
        """Once: a command that goes on in an old run may have been cut off after this."""
        import mlflow

        step, client = int(figures.get("steps", 0)), mlflow.MlflowClient()
        assert self._run_id is not None
        had = {k for k in figures if any(past.step == step for past in client.get_metric_history(self._run_id, k))}
        mlflow.log_metrics({k: v for k, v in figures.items() if k not in had}, step=step)

    def _log_input(self, name: str, table: ImageTable) -> None:
        import mlflow
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]

        # The digest is the record's: it covers the source files' checksums, and reads no pixel.
        record = table.record
        digest = hashlib.sha256(record.model_dump_json().encode()).hexdigest()[:16]
        source = LocalArtifactDatasetSource(table.folder.as_uri())
        data = MetaDataset(source, name=f"{record.name} {record.split} {record.spec.key}", digest=digest)  # type: ignore[abstract]
        mlflow.log_input(data, context=name)

    def _stored(self, pipeline: Pipeline) -> StoredModel | None:
        """The stored model that the run uses, if it uses one."""
        if "glow_model" not in pipeline.inputs():
            return None
        dataset = cast(GlowModelDataset, self._catalog["glow_model"])
        return StoredModel(version_of(dataset), dataset.record())

    def _register_model(self, model: TrainedGlow) -> None:
        import mlflow

        path = cast(GlowModelDataset, self._catalog["glow_model"]).load_path
        logged = mlflow.create_external_model(
            name=model_name(model.record),
            source_run_id=self._run_id,
            params={name: str(value) for name, value in model.record.flow.items()},
            tags={"path": str(path.relative_to(self._project)), "images": model.record.image_spec.key},
        )
        mlflow.set_active_model(model_id=logged.model_id)
        mlflow.log_text(model.record.model_dump_json(indent=2), "model/record.json")

    def _link_model(self, model: TrainedGlow) -> None:
        """Let this run's metrics count for the model that it uses."""
        import mlflow

        name = model_name(model.record)
        found = mlflow.search_logged_models(filter_string=f"name='{name}'", output_format="list", max_results=1)
        mlflow.set_tag("model", name)
        if found:
            mlflow.set_active_model(model_id=found[0].model_id)


def _only_helps(pipeline: Pipeline, catalog: DataCatalog) -> bool:
    """Whether this is one of several machines that train together, and not the one that keeps the records."""
    if "training" not in pipeline.inputs() or not catalog.exists("training"):
        return False
    return cast(Training, catalog.load("training")).folder is None


def _tags(pipelines: str, parameters: Parameters, provenance: Provenance) -> dict[str, Any]:
    """What is known, as tags."""
    tags = {
        "pipeline": pipelines,
        "dataset": parameters.image_set.key,
        "kedro_session": provenance.kedro_session,
        "kedro_command": " ".join(["kedro", *sys.argv[1:]]),
        "git_commit": provenance.git_commit,
        "git_dirty": provenance.git_dirty,
        "mlflow.user": user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": sys.argv[0],
        "mlflow.source.git.commit": provenance.git_commit,
        **{f"version.{package}": provenance.versions.get(package) for package in TAGGED_VERSIONS},
    }
    return {key: value for key, value in tags.items() if value is not None}


def _absolute_uri(uri: str, project: Path) -> str:
    """sqlite:///name.db is meant from the project's root, wherever the command is typed."""
    return f"{SQLITE}{project / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri

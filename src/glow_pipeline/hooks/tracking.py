"""One MLflow run for each `kedro run`."""

import atexit
import getpass
import hashlib
import logging
import platform
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, cast

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline import Pipeline
from pydantic import BaseModel, ConfigDict, ValidationError

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.garbage import no_garbage_here
from glow_pipeline.hooks.artifacts import artifact_files
from glow_pipeline.hooks.new_database import make_database
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.stored import Provenance, TrainedGlow

VERSIONS_OF = ("glow_pipeline", "kedro", "mlflow", "numpy", "torch", "torchvision")
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
    """

    def __init__(self) -> None:
        self._run_id: str | None = None

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
        self._catalog = catalog
        provenance = _provenance(run_params["run_id"], self._project)
        if self._config.enabled:
            self._run_id = self._start(run_params, pipeline, provenance)
            provenance = provenance.model_copy(update={"mlflow_run_id": self._run_id})
        _end_when_terminated()
        catalog.save("provenance", provenance)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        if self._run_id is None or dataset_name in self._seen:
            return
        self._seen.add(dataset_name)
        if isinstance(data, ImageTable):
            self._log_input(dataset_name, data)
        if isinstance(data, TrainedGlow):
            self._link_model(data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        if self._run_id is None:
            return
        import mlflow

        if isinstance(data, TrainedGlow):
            self._register_model(data)
        dataset = self._catalog[dataset_name]
        folder = (getattr(dataset, "metadata", None) or {}).get("mlflow")
        if folder is None or not isinstance(dataset, AbstractVersionedDataset):
            return
        for file in artifact_files(dataset):
            mlflow.log_artifact(str(file), folder)
        if folder == "metrics":
            mlflow.log_metrics({k: v for k, v in data.items() if isinstance(v, int | float)})

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._end("FINISHED")

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: Exception) -> None:
        if self._run_id is not None:
            import mlflow

            mlflow.set_tag("error", f"{type(error).__name__}: {error}"[:500])
        self._end("FAILED")

    @no_garbage_here()  # MLflow imports its server, pandas and SQLAlchemy
    def _start(self, run_params: dict[str, Any], pipeline: Pipeline, provenance: Provenance) -> str:
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        parameters = Parameters.model_validate(self._catalog.load("parameters"))
        name = "+".join(sorted(run_params["pipeline_names"] or ["all"]))  # Kedro hands them over in no fixed order
        tags = {
            "pipeline": name,
            "dataset": parameters.image_set.key,
            "kedro_session": provenance.kedro_session,
            "kedro_command": " ".join(["kedro", *sys.argv[1:]]),
            "git_commit": provenance.git_commit,
            "git_dirty": provenance.git_dirty,
            "mlflow.user": _user(),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": sys.argv[0],
            "mlflow.source.git.commit": provenance.git_commit,
            **{f"version.{package}": number for package, number in provenance.versions.items()},
        }
        name = f"{name} {parameters.image_set.key}"
        if "out_images" in pipeline.all_outputs():
            tags["out_dataset"] = parameters.out_image_set.key
            name = f"{name} vs {parameters.out_image_set.key}"
        try:
            uri = _absolute_uri(self._config.tracking_uri, self._project)
            if uri.startswith(SQLITE):
                make_database(Path(uri.removeprefix(SQLITE)))
            mlflow.set_tracking_uri(uri)
            if mlflow.get_experiment_by_name(self._config.experiment) is None:
                artifacts = (self._project / self._config.artifacts).as_uri()
                mlflow.create_experiment(self._config.experiment, artifact_location=artifacts)
            experiment = mlflow.set_experiment(self._config.experiment)
            # start_run itself would import IPython, a second, to find out whether this is a notebook.
            run = mlflow.MlflowClient().create_run(
                experiment.experiment_id, run_name=name, tags={k: v for k, v in tags.items() if v is not None}
            )
            mlflow.start_run(run_id=run.info.run_id)
        except (mlflow.exceptions.MlflowException, OSError) as error:
            raise click.ClickException(
                f"mlflow.yml: tracking_uri={self._config.tracking_uri}: no run could be started there "
                f"({str(error).splitlines()[0]}); mend the address, or set enabled: false"
            ) from None
        mlflow.log_params(_flatten(parameters.model_dump()))
        self._seen: set[str] = set()
        # MLflow's own atexit would call an interrupted run FINISHED; this one, registered later, comes first.
        atexit.register(self._end, "KILLED")
        return str(run.info.run_id)

    def _end(self, status: str) -> None:
        if self._run_id is not None:
            import mlflow

            self._run_id = None
            mlflow.end_run(status)
            mlflow.clear_active_model()
            atexit.unregister(self._end)

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

    def _register_model(self, model: TrainedGlow) -> None:
        import mlflow

        path = self._model_path()
        logged = mlflow.create_external_model(
            name=_model_name(model, path.parent.name),
            source_run_id=self._run_id,
            params={name: str(value) for name, value in model.record.flow.items()},
            tags={"path": str(path.relative_to(self._project)), "images": model.record.image_spec.key},
        )
        mlflow.set_active_model(model_id=logged.model_id)

    def _model_path(self) -> Path:
        return cast(GlowModelDataset, self._catalog["glow_model"]).load_path

    def _link_model(self, model: TrainedGlow) -> None:
        """Let this run's metrics count for the model that it uses."""
        import mlflow

        name = _model_name(model, self._model_path().parent.name)
        found = mlflow.search_logged_models(filter_string=f"name='{name}'", output_format="list", max_results=1)
        mlflow.set_tag("model", name)
        if found:
            mlflow.set_active_model(model_id=found[0].model_id)


def _provenance(session: str, project: Path) -> Provenance:
    commit = _git(project, "rev-parse", "HEAD")
    return Provenance(
        kedro_session=session,
        git_commit=commit,
        git_dirty=bool(_git(project, "status", "--porcelain")) if commit else None,
        versions={"python": platform.python_version(), **{name: version(name) for name in VERSIONS_OF}},
    )


def _user() -> str | None:
    """Who runs this, or None where a container runs under a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _git(project: Path, *arguments: str) -> str | None:
    """What git answers, or None where there is no git, no repository or no commit."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _end_when_terminated() -> None:
    """Let SIGTERM unwind the stack as Ctrl-C does: temporary files go, and the run is ended as KILLED."""

    def leave(signum: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signum)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, leave)


def _absolute_uri(uri: str, project: Path) -> str:
    """sqlite:///name.db is meant from the project's root, wherever the command is typed."""
    return f"{SQLITE}{project / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri


def _flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _model_name(model: TrainedGlow, version: str) -> str:
    return f"glow-{model.record.dataset}-{version.replace('.', '-').replace(':', '-')}"

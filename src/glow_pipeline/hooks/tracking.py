"""The MLflow record of a run: which of Kedro's datasets, parameters and models go into it."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.hooks.artifacts import artifact_files
from glow_pipeline.hooks.provenance import user
from glow_pipeline.hooks.recorded_parameters import StoredModel, model_name, recorded_parameters
from glow_pipeline.hooks.stored_model import version_of
from glow_pipeline.images.sources.names import printable
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.report import tracked_metrics
from glow_pipeline.parameters import Parameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.tracking.command_run import CommandRun
from glow_pipeline.tracking.destination import Destination
from glow_pipeline.tracking.failures import mlflow_may_fail
from glow_pipeline.tracking.start import start_run
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.verdict.history import metrics_of_batches
from glow_pipeline.verdict.listing import list_name

TAGGED_VERSIONS = ("python", "glow_pipeline", "kedro", "mlflow", "numpy", "torch", "torchvision")


class Tracker:
    """A recorder of the inputs and results of a run: tables, models, metrics, and the files of marked catalog entries.

    An entry is marked by `metadata.mlflow` in catalog.yml, which names the folder of its artifacts. Where MLflow cannot
    be reached during a run, a warning says what is not recorded, and the run continues.

    Args:
        run: the MLflow run.
        catalog: catalog of the Kedro run.
        project: paths of models are recorded relative to this folder.
    """

    def __init__(self, run: CommandRun, catalog: DataCatalog, project: Path) -> None:
        self.run = run
        self._catalog, self._project = catalog, project
        self._recorded: set[str] = set()  # datasets that were loaded

    def record_loaded(self, name: str, data: Any) -> None:
        """Record a table or model that the run reads, the first time that it does."""
        if name in self._recorded:
            return
        self._recorded.add(name)
        if isinstance(data, ImageTable):
            # The digest is the record's: it covers the source files' checksums, and reads no pixel.
            record = data.record
            digest = hashlib.sha256(record.model_dump_json().encode()).hexdigest()[:16]
            title = f"{record.name} {record.split} {record.image_format.key}"
            with mlflow_may_fail(f"that the run uses {name}"):
                self.run.log_input(name, title, digest, data.folder)
        if isinstance(data, TrainedGlow):
            with mlflow_may_fail(f"that the run uses {name}"):
                self.run.use_model(model_name(data.record))
        if isinstance(data, Detector) and data.record.version is not None:
            with mlflow_may_fail(f"that the run uses {name}"):
                self.run.tag_detector(_detector_tags(data.record))

    def record_saved(self, name: str, data: Any) -> None:
        """Record a model, a file or figures that the run has stored."""
        if isinstance(data, TrainedGlow):
            with mlflow_may_fail(name):
                self._register_model(data)
        if isinstance(data, Detector) and name == "glow_detector":
            with mlflow_may_fail(name):
                self.run.tag_detector(_detector_tags(data.record), data.record.model_dump_json(indent=2))
        dataset = self._catalog[name]
        folder = (getattr(dataset, "metadata", None) or {}).get("mlflow")
        if folder is None or not isinstance(dataset, AbstractVersionedDataset):
            return
        with mlflow_may_fail(f"the file of {name}"), artifact_files(dataset) as files:
            for file in files:
                self.run.log_file(file, folder)
        if folder == "metrics":
            with mlflow_may_fail(f"the figures of {name}"):
                self.run.log_figures(tracked_metrics(data), step=int(data.get("steps", 0)))
        if folder == "history":
            with mlflow_may_fail(f"the figures of {name}"):
                self.run.log_series(metrics_of_batches(data))

    def _register_model(self, model: TrainedGlow) -> None:
        path = cast(GlowModelDataset, self._catalog["glow_model"]).load_path
        self.run.register_model(
            model_name(model.record),
            params=model.record.flow,
            tags={
                "path": os.path.relpath(path, self._project),
                "images": model.record.image_format.key,
                "device": model.record.device,
                "precision": str(model.record.precision),
            },
            record=model.record.model_dump_json(indent=2),
        )


def _detector_tags(record: DetectorRecord) -> dict[str, object]:
    return {
        "detector": record.version,
        "detector.model": record.model_session,
        "detector.n_validation": record.n_validation,
        "detector.n_calibration": record.n_calibration,
    }


@contextmanager
def tracked(
    place: Destination,
    pipeline_names: list[str],
    parameters: Parameters,
    pipeline: Pipeline,
    catalog: DataCatalog,
    provenance: Provenance,
    resumed_run_id: str | None,
) -> Iterator[Tracker]:
    """Start or resume an MLflow run for the block; it ends by what ends the block.

    Args:
        place: where the run is recorded.
        pipeline_names: names of the pipelines as typed; empty for the default.
        parameters, pipeline, catalog, provenance: of the run.
        resumed_run_id: the MLflow run of the training or search that this run resumes.

    Raises:
        GlowPipelineError: MLflow does not answer.
    """
    name = "+".join(sorted(pipeline_names)) or "all"  # Kedro passes them in no fixed order
    tags = run_tags(name, parameters, provenance)
    title = f"{name} {parameters.image_selection.key}"
    if "out_images" in pipeline.all_outputs():
        tags["out_dataset"] = parameters.out_image_selection.key
        title = f"{title} vs {parameters.out_image_selection.key}"
    if "file_scores" in pipeline.all_outputs():
        tags["score.images"] = printable(str(parameters.score.images))
        title = f"{title} judges {list_name(parameters.score.images)}"
    params = recorded_parameters(parameters, _stored_model(pipeline, catalog))
    with start_run(place, title, params, tags, resumed_run_id) as run:
        yield Tracker(run, catalog, place.project)


def run_tags(pipelines: str, parameters: Parameters, provenance: Provenance) -> dict[str, str]:
    """Return the tags of a run; those whose value is unknown are left out."""
    tags = {
        "pipeline": pipelines,
        "dataset": parameters.image_selection.key,
        "kedro_session": provenance.kedro_session,
        "kedro_command": provenance.command,
        "git_commit": provenance.git_commit,
        "git_dirty": provenance.git_dirty,
        "mlflow.user": user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": sys.argv[0],
        "mlflow.source.git.commit": provenance.git_commit,
        **{f"version.{package}": provenance.versions.get(package) for package in TAGGED_VERSIONS},
    }
    return {key: str(value) for key, value in tags.items() if value is not None}  # a server takes nothing but text


def _stored_model(pipeline: Pipeline, catalog: DataCatalog) -> StoredModel | None:
    """Return the stored model that the run uses, if it uses one."""
    if "glow_model" not in pipeline.inputs():
        return None
    dataset = cast(GlowModelDataset, catalog["glow_model"])
    return StoredModel(version_of(dataset), dataset.record())

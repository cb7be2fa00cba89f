"""The MLflow record of a run: which of Kedro's datasets, parameters and models go into it."""

import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.datasets.image_table import ImageTableDataset
from glow_pipeline.hooks.artifacts import artifact_files, artifact_places, stored_bytes
from glow_pipeline.hooks.key_figures import KeyFigures
from glow_pipeline.hooks.provenance import user
from glow_pipeline.hooks.recorded_parameters import StoredModel, model_name, recorded_parameters
from glow_pipeline.hooks.repeating_command import command_line, runs_in_part
from glow_pipeline.hooks.run_description import RunDescription
from glow_pipeline.hooks.run_name import run_name
from glow_pipeline.hooks.stored_model import version_of
from glow_pipeline.images.sources.names import printable
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.metric_names import tracked_metrics
from glow_pipeline.parameters import Parameters, flattened
from glow_pipeline.provenance import Provenance
from glow_pipeline.tracking.command_run import CommandRun
from glow_pipeline.tracking.destination import Destination
from glow_pipeline.tracking.failures import mlflow_may_fail
from glow_pipeline.tracking.metric_names import HISTORY, group_of_entry, in_group
from glow_pipeline.tracking.run_pages import pages_without_view
from glow_pipeline.tracking.start import start_run
from glow_pipeline.training.model_card import ModelCard
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.verdict.history import metrics_of_batches
from glow_pipeline.verdict.listing import list_name

logger = logging.getLogger(__name__)

TABLES, MOST_COPIED = "tables", 100_000_000  # bytes of a table that MLflow copies
PICTURES, PNG = ("figures", "samples"), ".png"  # entries marked so are compared by their pictures
TAGGED_VERSIONS = ("python", "glow_pipeline", "kedro", "mlflow", "numpy", "torch", "torchvision")


class Tracker:
    """A recorder of the inputs and results of a run: tables, models, metrics, and the files of marked catalog entries.

    An entry is marked by `metadata.mlflow` in catalog.yml, which names the folder of its artifacts. Where MLflow cannot
    be reached during a run, a warning says what is not recorded, and the run continues.

    Args:
        run: the MLflow run.
        catalog: catalog of the Kedro run.
        project: paths of models are recorded relative to this folder.
        description: of the run; what is recorded is added to it.
    """

    def __init__(self, run: CommandRun, catalog: DataCatalog, project: Path, description: RunDescription) -> None:
        self.run = run
        self.pages = pages_without_view(run.pages, run.address.run_id)
        self._catalog, self._project, self._description = catalog, project, description
        self._recorded: set[str] = set()  # datasets that were loaded

    def record_loaded(self, name: str, data: Any) -> None:
        """Record a table or model that the run reads, the first time that it does."""
        if name in self._recorded:
            return
        self._recorded.add(name)
        if isinstance(data, ImageTable):
            # The digest is the record's: it covers the source files' checksums, and reads no pixel.
            if isinstance(self._catalog[name], ImageTableDataset):  # not its parts, which are passed on in memory
                self._description.add_table(name, data)
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
        with mlflow_may_fail(f"the file of {name}"):
            self._record_files(name, dataset, folder)
        if folder == "metrics":
            with mlflow_may_fail(f"the figures of {name}"):
                metrics = in_group(group_of_entry(name), tracked_metrics(data))
                self.run.log_figures(metrics, step=int(data.get("steps", 0)))
        if folder == "history":
            with mlflow_may_fail(f"the figures of {name}"):
                rows = ((number, date, in_group(HISTORY, row)) for number, date, row in metrics_of_batches(data))
                self.run.log_series(rows)
        if isinstance(data, ModelCard):
            self.record_card(data)

    def record_card(self, card: ModelCard) -> None:
        """Show the card on the page of the run's model."""
        with mlflow_may_fail("the card of the model"):
            self.run.describe_model(card.body)

    def describe(self) -> None:
        """Write the run's description, with what is known by now."""
        self._description.model = self.run.model
        with mlflow_may_fail("the run's description"):
            self.run.describe(self._description.markdown())

    def prepare_pages(self, pipeline: str, dataset: str) -> None:
        """Prepare the pages to look at after the run."""
        with mlflow_may_fail("a view of the runs like this one"):
            self.pages = self.run.prepare_pages(pipeline, dataset)

    def _record_files(self, name: str, dataset: AbstractVersionedDataset[Any, Any], folder: str) -> None:
        """Copy an entry's files into the run's artifacts; of a table that is too large say where it is stored."""
        size = stored_bytes(dataset) if folder == TABLES else 0
        if size > MOST_COPIED:
            stored = ", ".join(map(str, artifact_places(dataset)))
            megabytes = f"{size / 1e6:,.0f} MB"
            logger.info("MLflow records where %s is stored, and no copy of its %s: %s", name, megabytes, stored)
            self.run.log_text(f"{stored}\n{megabytes}, not copied into MLflow\n", f"{folder}/{name}.stored_at.txt")
            return
        with artifact_files(dataset) as files:
            for file in files:
                self._record_file(file, folder)

    def _record_file(self, file: Path, folder: str) -> None:
        if folder in PICTURES and file.suffix == PNG:
            self.run.log_picture(file, f"{folder}/{file.stem}")
        else:
            self.run.log_file(file, None if folder in PICTURES else folder)

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
    run_params: Mapping[str, Any],
    parameters: Parameters,
    pipeline: Pipeline,
    catalog: DataCatalog,
    provenance: Provenance,
    resumed_run_id: str | None,
    figures: KeyFigures,
) -> Iterator[Tracker]:
    """Start or resume an MLflow run for the block; it ends by what ends the block.

    Args:
        place: where the run is recorded.
        run_params: what Kedro knows of the command: pipelines, environment, `--params`.
        parameters, pipeline, catalog, provenance: of the run.
        resumed_run_id: the MLflow run of the training or search that this run resumes.
        figures: the run's key figures, which come as it saves them.

    Raises:
        GlowPipelineError: MLflow does not answer.
    """
    name = "+".join(sorted(run_params["pipeline_names"] or [])) or "all"  # Kedro passes them in no fixed order
    tags = run_tags(name, parameters, provenance)
    dataset = subject = parameters.image_selection.key
    if "out_images" in pipeline.all_outputs():
        tags["out_dataset"] = parameters.out_image_selection.key
        subject = f"{subject} vs {parameters.out_image_selection.key}"
    if "file_scores" in pipeline.all_outputs():
        tags["score.images"] = printable(str(parameters.score.images))
        subject = f"{subject} judges {list_name(parameters.score.images)}"
    stored = _stored_model(pipeline, catalog)
    params = recorded_parameters(parameters, stored)
    typed = flattened(run_params["runtime_params"] or {})
    in_part = runs_in_part(run_params)
    title = f"{name} (part) {subject}" if in_part else f"{name} {subject}"
    title = run_name(title, typed, run_params["env"], parameters.dataset)
    with start_run(place, title, params, tags, resumed_run_id) as run:
        description = RunDescription(
            name,
            subject,
            command_line(run_params),
            provenance,
            typed,
            params,
            run.pages,
            stored_model=None if stored is None else stored.version,
            in_part=in_part,
            figures=figures,
        )
        tracker = Tracker(run, catalog, place.project, description)
        tracker.prepare_pages(name, dataset)
        tracker.describe()
        yield tracker
        tracker.describe()  # with its results; one that fails keeps what was known at its start


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

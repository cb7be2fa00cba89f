"""The MLflow run of one command, and the records in it."""

import atexit
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from glow_pipeline.errors import TrainingStopped
from glow_pipeline.tracking.description import LONGEST, describe_run
from glow_pipeline.tracking.experiment import NOTE
from glow_pipeline.tracking.failures import mlflow_may_fail
from glow_pipeline.tracking.images import log_chart_image
from glow_pipeline.tracking.pages import Pages
from glow_pipeline.tracking.run_pages import RunPages, prepare_pages
from glow_pipeline.tracking.runs import TAG_LENGTH, RunAddress, client_of, leave_run, metric_value, mlflow_at

METRICS_AT_ONCE = 1000  # that MLflow takes


@dataclass(frozen=True)
class ModelOfRun:
    """The model that a run has made or uses, as MLflow knows it.

    Attributes:
        name: its name.
        model_id: its id; None: MLflow does not know it, as one whose training was recorded elsewhere.
        source_run_id: the run that trained it.
    """

    name: str
    model_id: str | None = None
    source_run_id: str | None = None


class CommandRun:
    """The run of one command. A context manager: the error that ends the block, if any, decides the run's status.

    Where MLflow fails, a method raises one of `failures.mlflow_failures()`. Everything is recorded by the run's address
    and id, since other threads of the process may have runs of their own.

    Args:
        address: address of a run that `start.start_run` has started.
        pages: of its experiment.
        times_resumed: how often the run was resumed.
    """

    def __init__(self, address: RunAddress, pages: Pages, times_resumed: int = 0) -> None:
        self.address, self.pages = address, pages
        self.model: ModelOfRun | None = None  # the figures are about it
        self._experiment, self._times_resumed = pages.experiment_id, times_resumed
        self._client = client_of(address)

    def __enter__(self) -> Self:
        # MLflow's own atexit would call an interrupted run FINISHED; this one, registered later, comes first.
        atexit.register(self._end, "KILLED")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        status = status_of(error)
        if status == "FAILED":
            with mlflow_may_fail("the error that ends the run"):
                line = f"{type(error).__name__}: {error}"[:TAG_LENGTH]
                self._client.set_tag(self.address.run_id, "error", line)
        atexit.unregister(self._end)
        self._end(status)

    def _end(self, status: str) -> None:
        with mlflow_may_fail(f"that the run is {status}"):
            leave_run(self.address, status)

    def log_input(self, role: str, name: str, digest: str, folder: Path) -> None:
        """Record a data set that the run reads.

        Args:
            role: what the run uses it as: `train_images`.
            name: name of the data set itself.
            digest: at most 36 characters that differ if the data do.
            folder: the data set's files.
        """
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
        from mlflow.entities import DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        source = LocalArtifactDatasetSource(folder.as_uri())
        data = MetaDataset(source, name=name, digest=digest)  # type: ignore[abstract]
        read = DatasetInput(data._to_mlflow_entity(), [InputTag(MLFLOW_DATASET_CONTEXT, role)])
        self._client.log_inputs(self.address.run_id, [read])

    def log_file(self, file: Path, folder: str | None) -> None:
        """Store a file in this folder of the run's artifacts; None: beside the folders."""
        self._client.log_artifact(self.address.run_id, str(file), folder)

    def log_text(self, text: str, path: str) -> None:
        """Store a text as a file at this path of the run's artifacts."""
        self._client.log_text(self.address.run_id, text, path)

    def log_picture(self, file: Path, key: str) -> None:
        """Store a picture for a person who compares runs.

        MLflow compares artifacts that are in no folder, and charts show images that have a key. Runs that repeat the
        picture, as commands of one search do, add a step.
        """
        self.log_file(file, None)
        log_chart_image(self._client, self.address.run_id, file, key, self._times_resumed)

    def prepare_pages(self, pipeline: str, dataset: str) -> RunPages:
        """Return the pages to look at after the run, with a view of the runs of this pipeline on this dataset."""
        return prepare_pages(self._client, self.pages, self.address.run_id, pipeline, dataset)

    def describe(self, text: str) -> None:
        """Write the run's description, in Markdown, unless a person has changed it."""
        describe_run(self._client, self.address.run_id, text)

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Record final figures at this step, each once: an earlier try of this run may have recorded some."""
        from mlflow.entities import Metric

        run_id, now = self.address.run_id, int(1000 * time.time())
        model_id = None if self.model is None else self.model.model_id
        missing = [
            Metric(key, metric_value(value), now, step, model_id=model_id, run_id=run_id)
            for key, value in figures.items()
            if all(past.step != step for past in self._client.get_metric_history(run_id, key))
        ]
        self._client.log_batch(run_id, metrics=missing)

    def log_series(self, rows: Iterable[tuple[int, datetime, Mapping[str, float]]]) -> None:
        """Record figures that are curves, each with its step and the date that it is of."""
        from mlflow.entities import Metric

        metrics = [
            Metric(key, metric_value(value), int(1000 * date.timestamp()), step)
            for step, date, figures in rows
            for key, value in figures.items()
        ]
        for start in range(0, len(metrics), METRICS_AT_ONCE):
            self._client.log_batch(self.address.run_id, metrics=metrics[start : start + METRICS_AT_ONCE])

    def register_model(self, name: str, params: Mapping[str, object], tags: Mapping[str, object], record: str) -> None:
        """Register a model that this run has made and stored itself; later figures count for it.

        Args:
            record: its description in JSON, stored with the run's artifacts.
        """
        import mlflow

        with mlflow_at(self.address.tracking_uri):
            registered = mlflow.create_external_model(
                name=name,
                source_run_id=self.address.run_id,
                params={key: str(value) for key, value in params.items()},
                tags={key: str(value) for key, value in tags.items()},
                experiment_id=self._experiment,
            )
        self.model = ModelOfRun(name, registered.model_id, self.address.run_id)
        self._client.log_text(self.address.run_id, record, "model/record.json")

    def use_model(self, name: str) -> None:
        """Record that the run uses the model of this name; later figures count for it if MLflow knows it."""
        self.model = ModelOfRun(name)
        self._client.set_tag(self.address.run_id, "model", name)
        found = self._client.search_logged_models([self._experiment], filter_string=f"name='{name}'", max_results=1)
        if found:
            self.model = ModelOfRun(name, found[0].model_id, found[0].source_run_id)

    def describe_model(self, card: str) -> None:
        """Show the card, in Markdown, on the model's page; a card that is too long ends with a line that says so."""
        if self.model is not None and self.model.model_id is not None:
            self._client.set_logged_model_tags(self.model.model_id, {NOTE: _shortened(card)})

    def tag_detector(self, tags: Mapping[str, object], record: str | None = None) -> None:
        """Record the detector that the run makes or uses.

        Args:
            tags: short facts of it.
            record: its description in JSON, stored with the run's artifacts, if the run has made it.
        """
        for key, value in tags.items():
            self._client.set_tag(self.address.run_id, key, str(value))
        if record is not None:
            self._client.log_text(self.address.run_id, record, "detector/record.json")


def _shortened(card: str) -> str:
    if len(card) <= LONGEST:
        return card
    end = "\n\n(The rest is in the file of the card, among the artifacts of the model's run.)"
    return card[: card.rfind("\n", 0, LONGEST - len(end))] + end


def status_of(error: BaseException | None) -> str:
    """Return MLflow's status of a run that this error ended; None: nothing did."""
    if error is None:
        return "FINISHED"
    if isinstance(error, TrainingStopped):
        return "KILLED" if error.exit_code else "FINISHED"  # 0: a machine that helped others to train
    return "FAILED" if isinstance(error, Exception) else "KILLED"

"""The MLflow run of one command, and the records in it."""

import atexit
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from glow_pipeline.errors import TrainingStopped
from glow_pipeline.tracking.failures import mlflow_may_fail
from glow_pipeline.tracking.runs import TAG_LENGTH, RunAddress, client_of, leave_run, metric_value, mlflow_at

METRICS_AT_ONCE = 1000  # that MLflow takes


class CommandRun:
    """The run of one command. A context manager: the error that ends the block, if any, decides the run's status.

    Where MLflow fails, a method raises one of `failures.mlflow_failures()`. Everything is recorded by the run's address
    and id, since other threads of the process may have runs of their own.

    Args:
        address: address of a run that `start.start_run` has started.
        experiment_id: its experiment.
    """

    def __init__(self, address: RunAddress, experiment_id: str) -> None:
        self.address = address
        self._experiment = experiment_id
        self._model_id: str | None = None  # of the model that the figures are about
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

    def log_file(self, file: Path, folder: str) -> None:
        """Store a file in this folder of the run's artifacts."""
        self._client.log_artifact(self.address.run_id, str(file), folder)

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Record final figures at this step, each once: an earlier try of this run may have recorded some."""
        from mlflow.entities import Metric

        run_id, now = self.address.run_id, int(1000 * time.time())
        missing = [
            Metric(key, metric_value(value), now, step, model_id=self._model_id, run_id=run_id)
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
        self._model_id = registered.model_id
        self._client.log_text(self.address.run_id, record, "model/record.json")

    def use_model(self, name: str) -> None:
        """Record that the run uses the model of this name; later figures count for it if MLflow knows it."""
        self._client.set_tag(self.address.run_id, "model", name)
        found = self._client.search_logged_models([self._experiment], filter_string=f"name='{name}'", max_results=1)
        if found:
            self._model_id = found[0].model_id

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


def status_of(error: BaseException | None) -> str:
    """Return MLflow's status of a run that this error ended; None: nothing did."""
    if error is None:
        return "FINISHED"
    if isinstance(error, TrainingStopped):
        return "KILLED" if error.exit_code else "FINISHED"  # 0: a machine that helped others to train
    return "FAILED" if isinstance(error, Exception) else "KILLED"

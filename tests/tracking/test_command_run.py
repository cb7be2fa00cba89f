"""What a command's run records, and how it ends."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from glow_pipeline.errors import TrainingStopped
from glow_pipeline.tracking.command_run import CommandRun, status_of
from glow_pipeline.tracking.destination import Destination, TrackingConfig, destination
from glow_pipeline.tracking.start import start_run

# Starts a run and leaves it without ending it.
LEAVES = """
from pathlib import Path
from glow_pipeline.tracking.destination import TrackingConfig, destination
from glow_pipeline.tracking.start import start_run

config = TrackingConfig(enabled=True, tracking_uri=None, experiment=None, artifacts=None)
start_run(destination(config, Path.cwd(), {}), "left", {}, {}).__enter__()
"""


@pytest.fixture
def place(tmp_path: Path) -> Destination:
    config = TrackingConfig(enabled=True, tracking_uri=None, experiment=None, artifacts=None)
    return destination(config, tmp_path, {})


@pytest.fixture
def client(place: Destination) -> MlflowClient:
    return MlflowClient(place.tracking_uri)


def started(place: Destination) -> CommandRun:
    return start_run(place, "train", {}, {})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (ValueError("no such luck"), "FAILED"),
        (TrainingStopped(5, 130), "KILLED"),
        (TrainingStopped(5, 0), "FINISHED"),
        (SystemExit(143), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
    ids=repr,
)
def test_status_follows_from_the_error(error: BaseException | None, status: str) -> None:
    assert status_of(error) == status


def test_failed_run_has_the_error_as_a_tag(place: Destination, client: MlflowClient) -> None:
    with pytest.raises(ValueError, match="no such luck"), started(place) as run:
        raise ValueError("no such luck" * 100)
    done = client.get_run(run.address.run_id)
    assert done.info.status == "FAILED"
    assert done.data.tags["error"] == ("ValueError: " + "no such luck" * 100)[:500]


def test_run_that_python_leaves_is_killed(place: Destination, client: MlflowClient, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LEAVES], cwd=tmp_path, check=True, capture_output=True)
    (left,) = client.search_runs(["1"])
    assert left.info.status == "KILLED"


def test_figures_are_recorded_once_a_step(place: Destination, client: MlflowClient) -> None:
    with started(place) as run:
        run.log_figures({"auroc": 0.5}, step=10)
    with start_run(place, "train", {}, {}, run.address.run_id) as resumed:
        resumed.log_figures({"auroc": 0.5, "aupr": math.inf}, step=10)
        resumed.log_figures({"auroc": 0.75}, step=20)
    history = client.get_metric_history(run.address.run_id, "auroc")
    assert [(point.step, point.value) for point in history] == [(10, 0.5), (20, 0.75)]
    (point,) = client.get_metric_history(run.address.run_id, "aupr")
    assert math.isnan(point.value), "databases would keep infinity as 1.8e308"


def test_figures_count_for_the_used_model(place: Destination, client: MlflowClient) -> None:
    with started(place) as trains:
        trains.register_model("glow", {"K": 1}, {"path": "a"}, '{"K": 1}')
    with started(place) as scores:
        scores.use_model("glow")
        scores.log_figures({"auroc": 0.5}, step=0)
    (model,) = client.search_logged_models(["1"])
    assert (model.name, model.source_run_id, model.params) == ("glow", trains.address.run_id, {"K": "1"})
    assert [(metric.key, metric.value) for metric in model.metrics or []] == [("auroc", 0.5)]
    assert [file.path for file in client.list_artifacts(trains.address.run_id, "model")] == ["model/record.json"]
    assert client.get_run(scores.address.run_id).data.tags["model"] == "glow"


def test_input_is_recorded_with_its_digest(place: Destination, client: MlflowClient, tmp_path: Path) -> None:
    with started(place) as run:
        run.log_input("train_images", "digits train", "0123456789abcdef", tmp_path)
    inputs = client.get_run(run.address.run_id).inputs
    assert inputs is not None
    (read,) = inputs.dataset_inputs
    assert (read.dataset.name, read.dataset.digest) == ("digits train", "0123456789abcdef")
    assert [tag.value for tag in read.tags] == ["train_images"]

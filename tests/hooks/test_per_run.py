"""Several runs of one process, one after the other and at once."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import mlflow
import pytest
from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroServiceSession, KedroSession
from kedro.runner import SequentialRunner, ThreadRunner

from tests.hooks.helpers import RaisesInsteadOf, client_of, point_to, run_with, runs, statuses, trainings
from tests.project import TINY, TRAINING_FIGURES, bootstrap, copy_project, run, versions

PATIENCE = 120.0  # seconds


class InStep:
    """A hook that starts the nodes of two runs together, so that each run is in the middle of the other."""

    def __init__(self, broken: str | None = None) -> None:
        self._both, self._broken = threading.Barrier(2), broken

    @hook_impl
    def before_node_run(self, inputs: dict[str, Any]) -> None:
        with suppress(threading.BrokenBarrierError):  # the other run has failed
            self._both.wait(PATIENCE)
        if self._broken is not None and inputs["params:run.image_selection"].source == self._broken:
            self._both.abort()
            raise ValueError("no such luck")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project in which Kedro works."""
    copied = copy_project(tmp_path)
    bootstrap()
    monkeypatch.chdir(copied)
    return copied


@pytest.fixture
def service(project: Path) -> KedroServiceSession:
    """The service session of `kedro server`."""
    return KedroServiceSession.create(project_path=project, serving_mode=True)


def plain_session(project: Path, **runtime_params: Any) -> KedroSession:
    """One of Kedro's own, not that of the settings."""
    return KedroSession.create(project, runtime_params=runtime_params)


def test_concurrent_runs_have_separate_mlflow_runs(project: Path, service: KedroServiceSession) -> None:
    (project / "mlflow.db").unlink()  # both runs make it
    service._hook_manager.register(InStep())

    def train(K: int) -> None:
        parameters = {**TINY, "model": {**TINY["model"], "K": K}}
        service.run(f"2026-01-0{K}T00.00.00.000Z", ["train"], runtime_params=parameters)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(train, (1, 2)))
    assert mlflow.active_run() is None
    client = client_of(project)
    recorded = {done.data.params["model.K"]: done for done in runs(project)}
    assert sorted(recorded) == ["1", "2"]
    for K, done in recorded.items():
        session = f"2026-01-0{K}T00.00.00.000Z"
        assert (done.info.status, done.data.tags["kedro_session"]) == ("FINISHED", session)
        (metrics,) = versions(project, f"08_reporting/digits/train_metrics.json/{session}/*")
        assert done.data.metrics["test/bits_per_dim"] == json.loads(metrics.read_text())["test_bits_per_dim"]
        assert done.data.metrics.keys() >= {"train/bits_per_dim", "val/bits_per_dim"}
        figures = [file.path for file in client.list_artifacts(done.info.run_id) if not file.is_dir]
        assert [Path(figure).stem for figure in figures] == TRAINING_FIGURES
        assert done.inputs is not None
        assert len(done.inputs.dataset_inputs) == 2
        name = f"glow-digits-{session.replace('.', '-')}"
        (model,) = client.search_logged_models([done.info.experiment_id], filter_string=f"name='{name}'")
        assert (model.source_run_id, model.params["K"]) == (done.info.run_id, K)
        assert "test/bits_per_dim" in {metric.key for metric in model.metrics or []}
    assert [training.finished for training in trainings(project)] == [True, True]


def test_sessions_in_two_threads_have_separate_hooks(project: Path) -> None:
    """As in a notebook: two of Kedro's plain sessions."""
    in_step = InStep()

    def ingest(dataset: str) -> None:
        session = plain_session(project, dataset=dataset)
        session._hook_manager.register(in_step)
        session.run(pipeline_names=["ingest"])

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(ingest, ("digits", "textures")))
    recorded = {done.data.params["dataset"]: done for done in runs(project)}
    assert sorted(recorded) == ["digits", "textures"]
    for dataset, done in recorded.items():
        assert (done.info.run_name, done.info.status) == (f"ingest {dataset}", "FINISHED")


def test_failed_run_leaves_the_other_alone(project: Path, service: KedroServiceSession) -> None:
    service._hook_manager.register(InStep(broken="textures"))

    def ingest(dataset: str) -> None:
        service.run(pipeline_names=["ingest"], runtime_params={"dataset": dataset})

    with ThreadPoolExecutor(2) as threads:
        digits, textures = (threads.submit(ingest, dataset) for dataset in ("digits", "textures"))
        digits.result()
        with pytest.raises(ValueError, match="no such luck"):
            textures.result()
    recorded = {done.data.params["dataset"]: done for done in runs(project)}
    assert {dataset: done.info.status for dataset, done in recorded.items()} == {
        "digits": "FINISHED",
        "textures": "FAILED",
    }
    assert "error" not in recorded["digits"].data.tags


def test_interrupted_run_is_killed_and_frees_its_training(project: Path) -> None:
    with pytest.raises(SystemExit):
        run_with(RaisesInsteadOf("train.train_glow", SystemExit(143)), project, "train", **TINY)
    assert statuses(project) == ["KILLED"]
    (training,) = trainings(project)
    assert training.claim()
    training.release()


def test_next_run_kills_an_interrupted_plain_session(project: Path) -> None:
    session = plain_session(project)
    session._hook_manager.register(RaisesInsteadOf("ingest.ingest_train_images", SystemExit(143)))
    with pytest.raises(SystemExit):
        session.run(pipeline_names=["ingest"])
    assert statuses(project) == ["RUNNING"]
    run(project, "ingest")
    assert statuses(project) == ["KILLED", "FINISHED"]


def test_run_refused_by_mlflow_holds_no_training(project: Path, service: KedroServiceSession) -> None:
    point_to(project, "sqlite:///pyproject.toml/mlflow.db")
    with pytest.raises(click.ClickException, match=r"^mlflow.yml: tracking_uri"):
        service.run(pipeline_names=["train"], runtime_params=TINY)
    (training,) = trainings(project)
    assert training.claim()
    training.release()


@pytest.mark.parametrize("runner", [ThreadRunner(), SequentialRunner(is_async=True)])
def test_nodes_in_other_threads_are_refused(service: KedroServiceSession, runner: Any) -> None:
    with pytest.raises(click.ClickException, match="in other threads"):
        service.run(pipeline_names=["ingest"], runner=runner)


def test_active_run_of_the_user_stays_active(project: Path) -> None:
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text("experiment: another\n")
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlflow.db")
    mlflow.set_experiment("own")
    del os.environ["MLFLOW_TRACKING_URI"]
    with mlflow.start_run() as own:
        run(project, "ingest")
        active = mlflow.active_run()
        assert active is not None
        assert active.info.run_id == own.info.run_id
    assert mlflow.active_run() is None
    assert "MLFLOW_TRACKING_URI" not in os.environ, "another run of this process would go there"

"""Runs of a project in this process, and what they leave in MLflow and among the trainings."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import mlflow
import pytest
from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node
from mlflow.entities import Dataset, Run

from glow_pipeline.training.checkpoint_folder import TrainingFolder
from tests.project import files_below, run, session


def refused(project: Path, pipeline: str, **runtime_params: Any) -> str:
    """The one line with which a run is refused before it has touched a file or MLflow."""
    before = files_below(project / "data"), (project / "mlflow.db").exists() and (project / "mlflow.db").read_bytes()
    with pytest.raises(click.ClickException) as error:
        run(project, pipeline, **runtime_params)
    after = files_below(project / "data"), (project / "mlflow.db").exists() and (project / "mlflow.db").read_bytes()
    assert after == before
    assert len(error.value.message.splitlines()) == 1
    return error.value.message


class RaisesInsteadOf:
    """A hook that raises an error in place of a node."""

    def __init__(self, node: str, error: BaseException) -> None:
        self._node, self._error = node, error

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        if node.name == self._node:
            raise self._error


def run_with(hook: object, project: Path, pipeline: str, **runtime_params: Any) -> None:
    """`kedro run --pipelines <pipeline>` in this process, with one more hook."""
    with session(project, **runtime_params) as created:
        created._hook_manager.register(hook)
        created.run(pipeline_names=[pipeline])


def client_of(project: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


def runs(project: Path) -> list[Run]:
    """Newest first."""
    client = client_of(project)
    experiment = client.get_experiment_by_name("glow_pipeline")
    return list(client.search_runs([experiment.experiment_id])) if experiment is not None else []


def statuses(project: Path) -> list[str]:
    """The statuses of the MLflow runs, oldest first."""
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        return [status for (status,) in database.execute("select status from runs")]


def inputs_of(done: Run) -> dict[str, Dataset]:
    """The tables that a run read, by their names in the catalog."""
    assert done.inputs is not None
    return {tag.value: item.dataset for item in done.inputs.dataset_inputs for tag in item.tags}


def point_to(project: Path, address: str) -> None:
    """Have the project's runs recorded at this address."""
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text(f"tracking_uri: {address}\n")


def trainings(project: Path) -> list[TrainingFolder]:
    return [TrainingFolder(path) for path in sorted(project.glob("data/06_models/digits/checkpoints/*/*/"))]

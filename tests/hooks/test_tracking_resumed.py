"""A resumed training goes on in its MLflow run."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from mlflow.entities import Run

from glow_pipeline.hooks.provenance import versions
from tests.hooks.test_tracking import client_of, inputs_of, runs
from tests.project import TINY, copy_project, session


class Resuming:
    """Names the run to go on in, as the hook that finds a checkpoint does; keeps the provenance."""

    def __init__(self, run_id: str | None) -> None:
        self._run_id = run_id

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, catalog: DataCatalog) -> None:
        self._catalog = catalog
        if self._run_id is not None:
            catalog.save("resumed_mlflow_run", self._run_id)

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        self.provenance = self._catalog.load("provenance")


def resume(project: Path, run_id: str | None, pipeline: str = "ingest", **runtime_params: Any) -> Resuming:
    hook = Resuming(run_id)
    with session(project, **runtime_params) as created:
        created._hook_manager.register(hook)
        created.run(pipeline_names=[pipeline])
    return hook


def the_run(project: Path) -> Run:
    (run,) = runs(project)
    return run


def test_it_goes_on_in_the_old_run_and_tells_what_has_changed(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    resume(project, None, "train", **TINY)
    begun = the_run(project)
    client = client_of(project)
    client.set_terminated(begun.info.run_id, "FAILED")
    client.set_tag(begun.info.run_id, "error", "what ended it then")
    client.log_param(begun.info.run_id, "of.another.version", "1")

    longer = {**TINY, "train": {"n_epochs": 2, "warmup": 0.0}}
    hook = resume(project, begun.info.run_id, "train", **longer)
    resumed = the_run(project)
    assert hook.provenance.mlflow_run_id == begun.info.run_id
    assert resumed.info.status == "FINISHED"
    assert resumed.data.params == {**begun.data.params, "of.another.version": "1"}
    told = {key: value for key, value in resumed.data.tags.items() if key.startswith("resumed")}
    assert told == {"resumed": "1", "resumed.train.n_epochs": "2"}
    assert resumed.data.tags["kedro_session"] == hook.provenance.kedro_session != begun.data.tags["kedro_session"]
    assert "error" not in resumed.data.tags
    assert len(inputs_of(resumed)) == len(inputs_of(begun))

    resume(project, begun.info.run_id, seed=1, **TINY)
    tags = the_run(project).data.tags
    assert tags["resumed"] == "2"
    assert tags["resumed.train.n_epochs"] == "1", "as it was in the latest command"
    assert tags["resumed.seed"] == "1"


def test_figures_that_it_has_are_not_logged_again(tmp_path: Path) -> None:
    """A command may have been killed between its last figures and its end."""
    project = copy_project(tmp_path)
    resume(project, None, "train", **TINY)
    run_id = the_run(project).info.run_id
    resume(project, run_id, "train", **TINY)
    client = client_of(project)
    steps = [past.step for past in client.get_metric_history(run_id, "test_bits_per_dim")]
    assert len(steps) == 1
    resume(project, run_id, "train", **{**TINY, "train": {"n_epochs": 2, "warmup": 0.0}})
    assert [past.step for past in client.get_metric_history(run_id, "test_bits_per_dim")] == [*steps, 2 * steps[0]]


def test_a_parameter_that_the_old_run_does_not_have_is_logged(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    resume(project, None)
    client = client_of(project)
    begun = the_run(project)
    bare = client.create_run(begun.info.experiment_id).info.run_id
    client.log_param(bare, "seed", "0")
    resume(project, bare)
    assert client.get_run(bare).data.params == begun.data.params


@pytest.mark.parametrize("how", ["deleted", "never there", "of another experiment"])
def test_where_the_old_run_is_gone_a_new_one_is_begun(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    project = copy_project(tmp_path)
    resume(project, None)
    old = the_run(project).info.run_id
    client = client_of(project)
    if how == "deleted":
        client.delete_run(old)
    if how == "never there":
        old = "0" * 32
    if how == "of another experiment":
        old = client.create_run("0").info.run_id
    hook = resume(project, old)
    assert runs(project)[0].info.run_id == hook.provenance.mlflow_run_id != old
    assert runs(project)[0].info.status == "FINISHED"
    assert [message for message in caplog.messages if old in message] == [
        f"MLflow run {old} of the training that is resumed is gone; a new one is begun"
    ]


def test_provenance_has_the_version_of_every_direct_dependency() -> None:
    found = versions()
    assert found.keys() >= {"python", "glow_pipeline", "kedro-datasets", "safetensors", "torch", "tqdm"}
    assert found["omegaconf"] == version("omegaconf")
    assert not {"pytest", "FrEIA", "psutil"} & found.keys()

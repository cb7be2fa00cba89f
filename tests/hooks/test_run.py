"""The order of what happens around a run, and how a run ends."""

import signal
from pathlib import Path
from typing import Any

import pytest
from kedro.pipeline.node import Node

from glow_pipeline.errors import TrainingStopped
from glow_pipeline.hooks import RunHook
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.model_file import read_record
from tests.hooks.helpers import RaisesInsteadOf, client_of, run_with, runs, statuses, trainings
from tests.project import TINY, copy_project, kedro, run, session, versions

# Appended to a project's settings: a training that is requested to stop.
STOPS = """
from kedro.framework.hooks import hook_impl
from glow_pipeline.errors import TrainingStopped


class Stops:
    @hook_impl
    def before_node_run(self, node):
        if node.name == "ingest.ingest_test_images":
            raise TrainingStopped(5, 143)


HOOKS = (*HOOKS, Stops())
"""


def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every object that is validated as `Parameters` from now on."""
    validated: list[object] = []
    validate = Parameters.model_validate.__func__  # type: ignore[attr-defined]

    def counting(cls: type[Parameters], /, given: object, **options: Any) -> Parameters:
        validated.append(given)
        parameters: Parameters = validate(cls, given, **options)
        return parameters

    monkeypatch.setattr(Parameters, "model_validate", classmethod(counting))
    return validated


@pytest.mark.parametrize("pipeline", ["ingest", "train"])
def test_parameters_are_validated_once_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: str
) -> None:
    project = copy_project(tmp_path)
    validated = counted(monkeypatch)
    run(project, pipeline, **TINY)
    assert len(validated) == 1


def test_validations_of_parameters_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count of the test above is not empty for want of counting."""
    validated = counted(monkeypatch)
    Parameters.model_validate({"seed": 1})
    assert validated == [{"seed": 1}]


def test_node_gets_parameters_as_it_annotates_them(tmp_path: Path) -> None:
    def annotated(parameters: Parameters) -> int:
        return parameters.seed

    def plain(parameters: dict[str, Any]) -> int:
        return int(parameters["seed"])

    def postponed(parameters: "Parameters") -> int:
        return parameters.seed

    def returned(parameters: dict[str, Any]) -> Parameters:
        return parameters["seed"]

    with session(copy_project(tmp_path), seed=3) as created:
        context = created.load_context()
        hook = RunHook()
        hook.after_context_created(context)
        given = context.catalog.load("parameters")
        assert context.catalog.load("params:train").n_epochs == given["train"].n_epochs
    for function in (annotated, plain, postponed, returned):
        node = Node(function, "parameters", "seed", name=function.__name__)
        inputs = {"parameters": given}
        inputs.update(hook.before_node_run(node, inputs))
        assert node.run(inputs) == {"seed": 3}


@pytest.mark.parametrize("exit_code", [130, 143, 0])
def test_stopped_training_ends_the_command_with_its_code(tmp_path: Path, exit_code: int) -> None:
    project = copy_project(tmp_path)
    stops = RaisesInsteadOf("train.train_glow", TrainingStopped(5, exit_code))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        run_with(stops, project, "train", **TINY)
    assert ended.value.code == exit_code
    assert statuses(project) == ["KILLED" if exit_code else "FINISHED"]
    (training,) = trainings(project)
    assert training.claim(), "nobody holds it"
    training.release()
    assert not training.finished
    assert signal.getsignal(signal.SIGTERM) == before


def test_stopped_training_shows_no_traceback(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    with (project / "src" / "glow_pipeline" / "settings.py").open("a") as settings:
        settings.write(STOPS)
    done = kedro(project, "run", "--pipelines", "ingest")
    assert done.returncode == 143
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "TrainingStopped" not in done.stderr


def test_interrupted_evaluation_is_resumed_in_its_run(tmp_path: Path) -> None:
    """Longer than before: MLflow keeps the first command's parameters and tags, and those that changed beside them."""
    project = copy_project(tmp_path)
    with pytest.raises(SystemExit):
        run_with(RaisesInsteadOf("train.evaluate_glow", SystemExit(143)), project, "train", **TINY)
    (started,) = runs(project)
    assert started.info.status == "KILLED"
    run(project, "train", **{**TINY, "train": {**TINY["train"], "n_epochs": 2}})
    (resumed,) = runs(project)
    assert (resumed.info.run_id, resumed.info.status) == (started.info.run_id, "FINISHED")
    assert resumed.data.params == started.data.params
    changed = {key: value for key, value in resumed.data.tags.items() if key.startswith("resumed")}
    assert changed == {"resumed": "1", "resumed.train.n_epochs": "2"}
    assert resumed.data.tags["kedro_session"] != started.data.tags["kedro_session"]
    steps = [past.step for past in client_of(project).get_metric_history(resumed.info.run_id, "val/bits_per_dim")]
    assert steps == [10, 20]
    assert [training.finished for training in trainings(project)] == [True]
    model = read_record(versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors")[-1])
    assert model.provenance.mlflow_run_id == started.info.run_id

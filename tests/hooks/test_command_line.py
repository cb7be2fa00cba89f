"""Options of `kedro run` beside the parameters, typed wrongly."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from kedro.framework.startup import bootstrap_project

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.command_line import check_options
from glow_pipeline.hooks.tracking import _tags
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.model_file import Provenance
from tests.hooks.test_early_checks import refused
from tests.project import ROOT, copy_project, run, session, versions


def refusal(**options: Any) -> str:
    """The one line with which these options are refused."""
    bootstrap_project(ROOT)
    with pytest.raises(GlowPipelineError) as error:
        check_options(options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pipelines": ["ingest", "trian"]}, "--pipelines trian: no such pipeline; did you mean train?"),
        ({"pipeline": "xyz"}, "--pipelines xyz: no such pipeline; known are __default__, ingest, ood, sample, "),
        ({"pipeline": "train", "pipelines": ["ood"]}, "--pipeline and --pipelines: type one of them; "),
        ({"is_async": True}, "--async: "),
        ({"runner_params": {"is_async": True}}, "--async: "),
        ({"runner": "ThreadRunner"}, "--runner ThreadRunner: "),
        ({"runner": "kedro.runner.ParallelRunner"}, "--runner kedro.runner.ParallelRunner: "),
        ({"runner": "Sequential"}, "--runner Sequential: no such runner; did you mean SequentialRunner?"),
        ({"runner": "no.such.Runner"}, "--runner no.such.Runner: no such runner; "),
        ({"node_names": ["trian_glow"]}, "--nodes trian_glow: no such node in what runs; did you mean train_glow?"),
        ({"from_nodes": ["train.evaluate"]}, "--from-nodes train.evaluate: no such node in what runs; did you mean "),
        ({"to_nodes": ["train_glow"], "pipelines": ["sample"]}, "--to-nodes train_glow: no such node in what runs; "),
        ({"from_inputs": ["train_image"]}, "--from-inputs train_image: no such dataset in what runs; did you mean "),
        ({"to_outputs": ["glow_modell"]}, "--to-outputs glow_modell: no such dataset in what runs; did you mean glow_"),
        ({"tags": ["x"]}, "--tags x: no such tag in what runs; no node has one; choose by --nodes or --namespaces"),
        ({"namespaces": ["trian"]}, "--namespaces trian: no such namespace in what runs; did you mean train?"),
        ({"node_names": ["score_in"], "namespaces": ["train"]}, "no node is in all of what was typed; "),
    ],
    ids=str,
)
def test_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    assert refusal(**options).startswith(message)


def test_nodes_are_known_by_short_and_full_names() -> None:
    bootstrap_project(ROOT)
    typed = {"node_names": ["train_glow", "train.evaluate_glow"], "from_nodes": ["build_glow"]}
    assert check_options(typed) == {
        "node_names": ["train.train_glow", "train.evaluate_glow"],
        "from_nodes": ["train.build_glow"],
        "to_nodes": [],
    }


def test_every_node_has_a_typable_name() -> None:
    from kedro.framework.project import pipelines

    bootstrap_project(ROOT)
    names = {node.name for pipeline in pipelines.values() for node in pipeline.nodes}
    assert len(names) == 21
    assert all(name.replace(".", "").replace("_", "").isalpha() for name in names), names
    assert len({name.rpartition(".")[2] for name in names}) == len(names)


@pytest.mark.parametrize(
    ("env", "told"),
    [("digist", "did you mean digits?"), ("digits ", "did you mean digits?"), ("xyz", "known are base, ")],
)
def test_an_environment_that_is_not_there_is_told(tmp_path: Path, env: str, told: str) -> None:
    with session(copy_project(tmp_path), env) as created, pytest.raises(click.ClickException) as refusal:
        created.run(pipeline_names=["ingest"])
    assert refusal.value.message.startswith(f"--env '{env}': no such folder in {tmp_path}/conf; {told}")


@pytest.mark.parametrize("pipelines", [["train"], ["ingest", "ood", "train"]])
def test_a_version_of_what_the_command_makes_itself_is_refused(trained: Path, pipelines: list[str]) -> None:
    """The old model would be measured as if it were the new one."""
    (model,) = versions(trained, "06_models/digits/glow_model.safetensors/*")
    with session(trained) as created, pytest.raises(click.ClickException) as refusal:
        created.run(pipeline_names=pipelines, load_versions={"glow_model": model.name})
    assert refusal.value.message.startswith(f"--load-versions glow_model:{model.name}: this command makes a new ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("glow_modl", "--load-versions glow_modl:2024: no such dataset; did you mean glow_model?"),
        ("image_selection", "--load-versions image_selection:2024: has no versions; known are"),
    ],
)
def test_version_of_an_unknown_dataset_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with click.Context(click.Command("run")) as context:
        context.params = {"load_versions": {name: "2024"}}
        assert refused(copy_project(tmp_path), "sample").startswith(message)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            ["train.evaluate_glow"],
            "exact_copies: is made by the node train.split_images and not stored; let that run too",
        ),
        (["train.split_images"], "test_images: is not stored yet; let the node ingest.ingest_test run too"),
    ],
)
def test_input_that_is_not_stored_is_refused(tmp_path: Path, nodes: list[str], message: str) -> None:
    with session(copy_project(tmp_path)) as created, pytest.raises(click.ClickException) as refusal:
        created.run(pipeline_names=["train"], node_names=nodes)
    assert refusal.value.message.startswith(message)


def test_input_of_another_version_is_refused(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    run(project, "ingest")
    with session(project) as created, pytest.raises(click.ClickException) as refusal:
        created.run(pipeline_names=["train"], node_names=["train.split_images"], load_versions={"train_images": "2024"})
    assert refusal.value.message.startswith("train_images: no version 2024; let the node ingest.ingest_train run too")


def test_recorded_command_can_be_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kedro", "run", "--params", "ingest.path=/set #2"])
    provenance = Provenance(kedro_session="session", versions={})
    recorded = _tags("ingest", Parameters(), provenance)["kedro_command"]
    assert shlex.split(recorded) == sys.argv

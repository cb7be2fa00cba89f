"""What is typed beside the parameters, wrongly."""

from pathlib import Path
from typing import Any

import click
import pytest

from tests.hooks.test_early_checks import refused
from tests.project import copy_project, session, versions


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"pipelines": ["ingest", "trian"]}, "--pipelines trian: no such pipeline; did you mean train?"),
        (
            {"pipeline": "xyz"},
            "--pipelines xyz: no such pipeline; known are __default__, ingest, ood, sample, ",
        ),
        ({"is_async": True}, "--async: "),
        ({"runner_params": {"is_async": True}}, "--async: "),
        ({"runner": "ThreadRunner"}, "--runner ThreadRunner: "),
        ({"runner": "kedro.runner.ParallelRunner"}, "--runner kedro.runner.ParallelRunner: "),
    ],
    ids=str,
)
def test_it_is_refused_before_anything_starts(tmp_path: Path, typed: dict[str, Any], told: str) -> None:
    project = copy_project(tmp_path)
    with click.Context(click.Command("run")) as context:
        context.params = {"pipelines": [], "pipeline": None, "is_async": False, "runner_params": {}, "runner": None}
        context.params |= typed
        assert refused(project, "ingest").startswith(told)


def test_what_is_right_is_not_refused(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    with click.Context(click.Command("run")) as context:
        context.params = {"pipelines": ["ingest"], "is_async": False, "runner_params": {}, "runner": "SequentialRunner"}
        with session(project, "digits") as created:
            created.run(pipeline_names=["ingest"])
    assert versions(project, "03_primary/digits/*/train/*/train") != []


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

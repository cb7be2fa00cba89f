"""`kedro run` and `kedro serve` as they are typed: options are understood or refused in one line."""

import socket
from pathlib import Path
from typing import Any

import click
import pytest

from glow_pipeline import cli
from glow_pipeline.cli.run_command import RunCommand
from tests.project import bootstrap


def understood(*arguments: str) -> dict[str, Any]:
    """The options that were typed, as Kedro gets them."""
    bootstrap()
    context = cli.run.make_context("run", list(arguments))
    return {name: value for name, value in context.params.items() if value}


def refusal(*arguments: str) -> str:
    with pytest.raises(click.ClickException) as error:
        understood(*arguments)
    assert "\n" not in error.value.format_message()
    return error.value.format_message()


def test_parameters_are_read_by_their_type() -> None:
    assert understood("--params", "ingest.path=/set #2,seed=1") == {
        "params": {"ingest": {"path": "/set #2"}, "seed": 1}
    }


def test_several_params_are_merged() -> None:
    assert understood("--params", "seed=1", "--params", "model.K=2") == {"params": {"seed": 1, "model": {"K": 2}}}


def test_empty_params_are_none() -> None:
    assert understood("--params", "") == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parms", "seed=1"], "No such option '--parms'. (Did you mean one of: '--params', "),
        (["train"], "Got unexpected extra argument (train); pipelines are named after --pipelines: kedro run --pipe"),
        (["--params"], "Option '--params' requires an argument."),
        (["--params", "seed"], "--params seed: should be name=value"),
        (["--conf-source", "/nowhere"], "Invalid value for '--conf-source': Path '/nowhere' does not exist."),
        (["--pipelines", "train", "--pipelines", "ood"], "--pipelines: typed 2 times, and only the last would count; "),
        (["--nodes", "a", "-n", "b"], "--nodes: typed 2 times"),
        (["--pipelines", ""], "--pipelines '': empty; type a value, or leave --pipelines out"),
        (["--nodes", " , "], "--nodes ' , ': empty; "),
        (["--env", ""], "--env '': empty; "),
        (
            ["--load-versions", "glow_model=2024"],
            "--load-versions glow_model=2024: should be dataset:version, as glow_model:2024",
        ),
        (["--load-versions", "glow_model"], "--load-versions glow_model: should be dataset:version, as glow_model:20"),
        (["--load-versions", "glow_model:../x"], "--load-versions glow_model:../x: should be dataset:version"),
    ],
    ids=str,
)
def test_wrong_option_is_one_line(arguments: list[str], message: str) -> None:
    assert refusal(*arguments).startswith(message)


def test_options_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text("run:\n  pipelines: [ingest, train]\n  env: digits\n  params:\n    ingest: {path: '/a #2'}\n")
    from_file = {"pipelines": ["ingest", "train"], "env": "digits", "params": {"ingest": {"path": "/a #2"}}}
    assert understood("--config", str(file)) == {"config": str(file), **from_file}
    assert understood("--config", str(file), "--params", "seed=1") == {
        "config": str(file),
        **from_file,
        "params": {"seed": 1},
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("run:\n\tenv: x\n", ":2: a tab; indent with spaces"),
        ("env: x\n", ": no section `run:` with options below it"),
        ("- run\n", ":1: a list; expected are names with values"),
        ("run:\n  pipelins: a\n", ": pipelins: no such option; did you mean pipelines?"),
        ("run:\n  env: ${nope}\n", ": Interpolation key 'nope' not found"),
    ],
)
def test_error_in_an_options_file_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "run.yml").write_text(content)
    assert (
        refusal("--config", str(tmp_path / "run.yml"))
        .removeprefix("--config ")
        .startswith(f"{tmp_path}/run.yml{message}")
    )


def test_errors_of_a_run_are_one_line() -> None:
    bootstrap()
    with pytest.raises(click.ClickException) as error:
        cli.run.main(["--nodes", "trian_glow"], standalone_mode=False)
    assert error.value.message.endswith("did you mean train_glow?")


def test_early_ctrl_c_is_one_line() -> None:
    """Before the run has its own handlers of signals, as when options are parsed or pipelines are imported."""

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    bootstrap()
    command = RunCommand("run", callback=interrupted)
    with pytest.raises(click.ClickException) as error:
        command.main([], standalone_mode=False)
    assert (error.value.exit_code, error.value.format_message()) == (130, "interrupted")


def test_serve_refuses_used_port_before_a_run() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(click.ClickException, match=f"^port {port}: Address already in use; choose another one"):
            cli.serve.main(["--port", port], standalone_mode=False)

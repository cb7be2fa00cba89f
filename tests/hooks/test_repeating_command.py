"""The command that repeats a run."""

import shlex
from typing import Any

import pytest

from glow_pipeline.hooks.repeating_command import PACKAGE, command_line, runs_in_part

TYPED = {"env": "digits", "pipeline_names": ["train", "ood"], "runtime_params": None}


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["kedro", "run", "--pipelines", "train"], "kedro run --pipelines train"),
        ([str(PACKAGE / "__main__.py"), "--pipelines", "a b"], "python -m glow_pipeline --pipelines 'a b'"),
        (["launcher.py", "-f", "kernel.json"], "kedro run --env digits --pipelines ood,train"),
        (["kedro", "serve", "--port", "1"], "kedro run --env digits --pipelines ood,train"),
    ],
)
def test_command_is_what_one_would_type(argv: list[str], command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", argv)
    assert command_line(TYPED) == command


def test_command_of_a_run_in_python_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["notebook"])
    typed = {"ingest": {"path": "/a b", "classes": [0, 1]}, "model": {"n_bits": None}, "train": {"mutation": True}}
    assert shlex.split(command_line({**TYPED, "runtime_params": typed})) == [
        *("kedro", "run", "--env", "digits", "--pipelines", "ood,train", "--params"),
        "ingest.path=/a b,ingest.classes=[0,1],model.n_bits=null,train.mutation=true",
    ]
    nothing: dict[str, Any] = {"env": None, "pipeline_names": None, "runtime_params": None}
    assert command_line(nothing) == "kedro run"
    part = {**nothing, "to_outputs": ["a", "b"], "load_versions": {"glow_model": "v1"}}
    assert command_line(part) == "kedro run --to-outputs a,b --load-versions glow_model:v1"


def test_part_of_a_pipeline_is_recognised() -> None:
    assert runs_in_part({"to_outputs": ["a"]})
    assert not runs_in_part({"tags": (), "to_outputs": None})

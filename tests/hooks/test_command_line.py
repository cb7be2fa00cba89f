"""Options of `kedro run` other than --params, refused before a session exists."""

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.command_line import check_options
from glow_pipeline.hooks.provenance import provenance_of
from glow_pipeline.hooks.repeating_command import command_line
from glow_pipeline.hooks.tracking import run_tags
from glow_pipeline.parameters import Parameters
from tests.project import bootstrap


@pytest.fixture(autouse=True)
def registered_pipelines() -> None:
    bootstrap()


def refusal(**options: Any) -> str:
    """Return the one line with which these options are refused."""
    with pytest.raises(GlowPipelineError) as error:
        check_options(options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pipelines": ["ingest", "trian"]}, "--pipelines trian: no such pipeline; did you mean train?"),
        (
            {"pipeline": "xyz"},
            "--pipelines xyz: no such pipeline; known are __default__, benchmark, calibrate, ingest, ",
        ),
        ({"pipelines": ["train", "calibrate"]}, "--pipelines train,calibrate: a training makes the detector of its "),
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
        ({"from_inputs": ["params:modl"]}, "--from-inputs params:modl: no such dataset in what runs; "),
        ({"tags": ["trainig"]}, "--tags trainig: no such tag in what runs; did you mean training?"),
        ({"tags": ["scoring"], "pipelines": ["train"]}, "--tags scoring: no such tag in what runs; "),
        ({"namespaces": ["trian"]}, "--namespaces trian: no such namespace in what runs; did you mean train?"),
        ({"node_names": ["score_images"], "namespaces": ["train"]}, "no node is in all of what was typed; "),
        ({"tags": ["report"], "to_nodes": ["train_glow"]}, "no node is in all of what was typed; "),
    ],
    ids=str,
)
def test_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    assert refusal(**options).startswith(message)


def test_short_node_names_become_full_names() -> None:
    options = {"node_names": ["train_glow", "train.evaluate_glow"], "from_nodes": ["build_glow"]}
    assert check_options(options) == {
        "node_names": ["train.train_glow", "train.evaluate_glow"],
        "from_nodes": ["train.build_glow"],
        "to_nodes": [],
    }


def test_parameters_may_be_named_as_inputs() -> None:
    assert check_options({"from_inputs": ["params:model"], "pipelines": ["train"]})["node_names"] == []


def test_recorded_command_can_be_typed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kedro", "run", "--params", "ingest.path=/set #2"])
    provenance = provenance_of("session", tmp_path, command_line({"runtime_params": None}))
    recorded = run_tags("ingest", Parameters(), provenance)["kedro_command"]
    assert shlex.split(recorded) == sys.argv

"""The command that repeats a run."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import glow_pipeline
from glow_pipeline.parameters import as_typed, flattened

PACKAGE = Path(glow_pipeline.__file__).parent
# Options by which Kedro runs a part of the pipelines, by their names in a hook.
OPTIONS_OF_PARTS = {
    "tags": "--tags",
    "node_names": "--nodes",
    "from_nodes": "--from-nodes",
    "to_nodes": "--to-nodes",
    "from_inputs": "--from-inputs",
    "to_outputs": "--to-outputs",
    "namespaces": "--namespaces",
}


def command_line(run_params: Mapping[str, Any]) -> str:
    """Return the command that repeats a run, as it was typed, or what one would type for a run that Python has made.

    Args:
        run_params: what Kedro knows of the run.
    """
    if sys.argv[1:2] == ["run"]:
        return shlex.join(["kedro", *sys.argv[1:]])
    if Path(sys.argv[0]) == PACKAGE / "__main__.py":
        return shlex.join(["python", "-m", PACKAGE.name, *sys.argv[1:]])
    typed = flattened(run_params["runtime_params"] or {})
    words = ["kedro", "run"]
    if run_params["env"]:
        words += ["--env", run_params["env"]]
    if run_params["pipeline_names"]:
        words += ["--pipelines", ",".join(sorted(run_params["pipeline_names"]))]
    for name, option in OPTIONS_OF_PARTS.items():
        if run_params.get(name):
            words += [option, ",".join(run_params[name])]
    if run_params.get("load_versions"):
        words += ["--load-versions", ",".join(f"{name}:{of}" for name, of in run_params["load_versions"].items())]
    if typed:
        words += ["--params", ",".join(f"{name}={as_typed(value)}" for name, value in typed.items())]
    return shlex.join(words)


def runs_in_part(run_params: Mapping[str, Any]) -> bool:
    """Return whether a command runs only some nodes of its pipelines."""
    return any(run_params.get(name) for name in OPTIONS_OF_PARTS)

"""The presets that tables have rows of, and what a preset decides about a training."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader

from glow_pipeline.parameters import Parameters, changeable_on_resume, flattened, known_names, parse_parameters
from glow_pipeline.settings import CONFIG_LOADER_ARGS

PRESETS = ("digits", "mnist", "fashionmnist", "pneumoniamnist")  # others have a row once they are named
LENGTH = ("train.n_epochs", "train.early_stopping")


def ordered(names: Iterable[str]) -> list[str]:
    """Return the names of rows, those of `PRESETS` first."""
    return sorted(names, key=lambda name: (PRESETS.index(name) if name in PRESETS else len(PRESETS), name))


def decided(parameters: Parameters | dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that decide what a training learns, and its length, by dotted names; values as in JSON.

    Args:
        parameters: valid ones, or those in a model's record.
    """
    nested = parameters if isinstance(parameters, dict) else json.loads(parameters.model_dump_json())
    values, changeable = flattened(nested), changeable_on_resume()
    return {name: values.get(name) for name in known_names() if name not in changeable or name in LENGTH}


def changed_since(preset: str, before: dict[str, Any], project: Path) -> str:
    """Return how a preset differs from what it has decided before; conf/local is left out."""
    if not (project / "conf" / preset).is_dir():
        return "removed"
    raw = OmegaConfigLoader(str(project / "conf"), preset, **CONFIG_LOADER_ARGS)["parameters"]  # type: ignore[arg-type]
    now = decided(parse_parameters(raw))
    return ", ".join(
        f"`{name}` was {json.dumps(value)}" for name, value in before.items() if name in now and now[name] != value
    )

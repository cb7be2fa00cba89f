"""A trained model typed by its name or path, `model=fashionmnist`, as the parameters that it stands for."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from glow_pipeline.config_loader import merged
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.parameters import as_typed, flattened, parse_parameters
from glow_pipeline.parameters.command_line import nested
from glow_pipeline.training.model_file import read_record
from glow_pipeline.training.named_model import named_model
from glow_pipeline.training.records import ModelRecord

IMAGES = ("dataset", "ingest.name", "ingest.classes")  # parameters by which a command names its images
OTHERS = ("stored_model", "score.model")  # parameters that name a model too


def with_named_model(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return typed parameters with those that `model=<name or path>` stands for in its place, and print them.

    `model` with a mapping is the group of parameters, and stays.

    Args:
        params: as typed, nested.

    Raises:
        GlowPipelineError: there is no such model, or something else that was typed names other images or another model.
    """
    model = params.get("model")
    if not isinstance(model, str):
        return dict(params)
    typed = flattened({name: value for name, value in params.items() if name != "model"})
    for name in OTHERS:
        if typed.get(name) is not None:
            raise GlowPipelineError(f"--params: {name}={typed[name]}: model={model} names a model too; leave one out")
    path = named_model("model", model)
    record = read_record(path)
    images = _images(record.train_table.image_selection)
    requested = {name: typed[name] for name in IMAGES if name in typed}
    if requested and not _are(images | requested, record):
        contrary = ",".join(f"{name}={as_typed(value)}" for name, value in requested.items())
        raise GlowPipelineError(
            f"--params: {contrary}: model={model} is a model of {record.dataset}; leave {' and '.join(requested)} out"
        )
    expanded = {**images, "stored_model": _shown(path)}
    listed = ",".join(f"{name}={as_typed(value)}" for name, value in expanded.items() if value is not None)
    click.echo(f"model={model} stands for {listed}", err=True)
    others = {name: value for name, value in params.items() if name not in ("model", "stored_model")}
    return merged(nested(expanded), others)


def _images(selection: ImageSelection) -> dict[str, Any]:
    """Return the parameters that name images; of a folder its name, since it may be elsewhere now."""
    images: dict[str, Any] = {"dataset": selection.source}
    if selection.is_folder and (name := selection.name or (selection.path and selection.path.name)):
        images["ingest.name"] = name
    images["ingest.classes"] = None if selection.classes is None else list(selection.classes)  # whatever a preset has
    return images


def _are(images: Mapping[str, Any], record: ModelRecord) -> bool:
    """Return whether these parameters name the images of a model."""
    if images["dataset"] != record.train_table.image_selection.source:
        return False
    return parse_parameters(nested(images)).image_selection.key == record.dataset


def _shown(path: Path) -> str:
    """Return a file as a person would type it; `stored_model` takes a name without a folder or suffix for a version."""
    inside = path.absolute().is_relative_to(Path.cwd()) and path.suffix == ".safetensors"
    return os.path.relpath(path) if inside else str(path.absolute())

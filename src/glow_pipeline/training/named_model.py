"""The stored model that a person names, by its file, its folder, or the name of a shipped one."""

import os
from pathlib import Path

from glow_pipeline.buckets import is_address
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256, stored_versions, typed_path
from glow_pipeline.parameters import TrainParameters, nearest
from glow_pipeline.training.model_file import MODEL_FILE
from glow_pipeline.training.shipped_models import SHIPPED, shipped_model, shipped_models, shipped_name


def model_at(path: Path) -> Path | None:
    """Return the model in this file or folder, of several versions the newest; None if there is none.

    Raises:
        GlowPipelineError: it is a shipped one, and damaged.
    """
    if not os.path.exists(path):  # noqa: PTH110  # pathlib's raises for a name that is too long
        return None
    below = [path, path / MODEL_FILE, *stored_versions(path / MODEL_FILE), *stored_versions(path)]
    found = next((file for file in below if file.is_file() and (file == path or file.name == MODEL_FILE)), None)
    if found is not None and (name := shipped_name(found)) is not None:
        shipped_model(name)  # compares checksums
    return found


def named_model(key: str, text: str) -> Path:
    """Return the file of a model that a person has typed.

    Args:
        key: the parameter, for the error.
        text: as typed.

    Raises:
        GlowPipelineError: there is no such model, or a shipped one is damaged.
    """
    if is_address(text):
        raise GlowPipelineError(
            f"{key}={text}: is in a bucket, and this is read from a disk; copy it there, and give the path of the copy"
        )
    found = model_at(typed_path(text)) or shipped_model(text)
    if found is not None:
        return found
    names = list(shipped_models())
    if text.endswith(".safetensors") or Path(text).name != text:
        named = f", or the name of a shipped one: {', '.join(names)}" if names else ""
        raise GlowPipelineError(
            f"{key}={text}: no such file; give the path of a stored .safetensors model or of its folder{named}"
        )
    known = "there are none here, so give the path of a stored .safetensors model or of its folder"
    if names:
        like = nearest(text, names)
        known = like if like.startswith("known") else f"{like} Known are {', '.join(names)}"
    raise GlowPipelineError(f"{key}={text}: no shipped model has this name; {known}")


def first_model(train: TrainParameters) -> Path | None:
    """Return the file of the model that a training starts from, that of `train.checkpoint`.

    Raises:
        GlowPipelineError: there is no such model.
    """
    return None if train.checkpoint is None else named_model("train.checkpoint", train.checkpoint)


def shorter_name(text: str) -> str:
    """Return the name of a shipped model that a person has typed by its name or path; of another model the text."""
    found = model_at(typed_path(text))
    return text if found is None else shipped_name(found) or text


def traceable(model: Path) -> str:
    """Return a model's file by its name alone, a shipped one with its folder in the repository, and its SHA-256."""
    name = shipped_name(model)
    place = model.name if name is None else f"{SHIPPED}/{name}/{model.name}"
    return f"{place} sha256:{sha256(model)}"

"""Trained models that come with the repository: `models/<name>/`, with the checksums of their files beside them.

The folder is that of the project in the working directory or above it, else that of the checkout from which this
package is imported. A package that is installed without its repository has none.
"""

import re
from pathlib import Path

import glow_pipeline
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256, stored_versions
from glow_pipeline.parameters import TrainParameters, nearest
from glow_pipeline.training.model_file import MODEL_FILE, read_record

SHIPPED, CHECKSUMS = "models", "SHA256SUMS"
CHECKOUT = Path(glow_pipeline.__file__).parents[2]
CHECKSUM = re.compile(r"([0-9a-f]{64}) [ *](\S+/\S+)")  # as `sha256sum` writes it


def shipped_folder() -> Path | None:
    """Return the folder of the shipped models, or None."""
    here = Path.cwd()
    project = next((folder for folder in (here, *here.parents) if (folder / "pyproject.toml").is_file()), CHECKOUT)
    return next((each / SHIPPED for each in (project, CHECKOUT) if (each / SHIPPED / CHECKSUMS).is_file()), None)


def shipped_models() -> dict[str, Path]:
    """Return the files of the shipped models by their names, without a look at them.

    Raises:
        GlowPipelineError: the list of checksums is damaged.
    """
    folder = shipped_folder()
    files = [] if folder is None else [folder / file for file in read_checksums(folder)]
    return {file.parent.name: file for file in files if file.name == MODEL_FILE}


def shipped_model(name: str) -> Path | None:
    """Return the file of the shipped model of this name, or None; its checksum and those beside it are compared.

    Raises:
        GlowPipelineError: a file is missing, or has another checksum.
    """
    folder, model = shipped_folder(), shipped_models().get(name)
    if folder is None or model is None:
        return None
    for file, digest in read_checksums(folder).items():
        path = folder / file
        if path.parent != model.parent:
            continue
        if not path.is_file() or sha256(path) != digest:
            problem = "its SHA-256 is not that of" if path.is_file() else "no such file, but it is listed in"
            raise GlowPipelineError(f"{path}: {problem} {SHIPPED}/{CHECKSUMS}; type `git checkout {SHIPPED}/{name}`")
    return model


def shipped_name(model: Path) -> str | None:
    """Return the name of a shipped model by its file; None of another file."""
    path = model.absolute()
    return next((name for name, file in shipped_models().items() if file == path), None)


def shipped_model_of(images: str) -> str | None:
    """Return the name of a shipped model of these images, given by the name of their folders, or None."""
    return next((name for name, file in shipped_models().items() if _trained_on(file) == images), None)


def named_model(key: str, text: str) -> Path:
    """Return the file of a model that a person has typed: its file, its folder, or the name of a shipped model.

    Args:
        key: the parameter, for the error.
        text: as typed.

    Raises:
        GlowPipelineError: there is no such model, or a shipped one is damaged.
    """
    found = model_at(Path(text).expanduser()) or shipped_model(text)
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


def model_at(path: Path) -> Path | None:
    """Return the model in this file or folder, of several versions the newest; None if there is none."""
    if path.is_file():
        return path
    below = [path / MODEL_FILE, *stored_versions(path / MODEL_FILE), *stored_versions(path)]
    return next((file for file in below if file.is_file() and file.name == MODEL_FILE), None)


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the digests of the files below a folder of shipped models, by their paths within it.

    Raises:
        GlowPipelineError: a line is no checksum.
    """
    digests = {}
    for line in (folder / CHECKSUMS).read_text("utf-8").splitlines():
        found = CHECKSUM.fullmatch(line)
        if found is None:
            raise GlowPipelineError(
                f"{folder / CHECKSUMS}: {line!r} is no checksum; type `git checkout {SHIPPED}/{CHECKSUMS}`"
            )
        digests[found[2]] = found[1]
    return digests


def _trained_on(model: Path) -> str | None:
    """Return the name of a model's images; None of a damaged one, which a command that names it reports."""
    try:
        return read_record(model).dataset
    except GlowPipelineError:
        return None

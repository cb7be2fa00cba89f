"""Trained models that come with the repository: `models/<name>/`, with the checksums of their files beside them.

The folder is that of the project in the working directory or above it, else that of the checkout from which this
package is imported. A package that is installed without its repository has none.
"""

import os
import re
from pathlib import Path

import glow_pipeline
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
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
    """Return the name of a shipped model by its file, by whatever path that is given; None of another file."""
    folder, path = shipped_folder(), Path(os.path.realpath(model))  # pathlib's resolve raises for a loop of links
    inside = folder is not None and path.parent.parent == Path(os.path.realpath(folder))
    return path.parent.name if inside and path.name == MODEL_FILE else None


def shipped_model_of(images: str) -> str | None:
    """Return the name of a shipped model of these images, given by the name of their folders, or None."""
    return next((name for name, file in shipped_models().items() if _trained_on(file) == images), None)


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

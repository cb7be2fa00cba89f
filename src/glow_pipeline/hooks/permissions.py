"""Permission to write where a command has to, in a checkout that several users share."""

import os
from collections.abc import Iterator
from pathlib import Path

from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.artifacts import is_local


def check_writable(pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Check that every folder in which the command will make something can be written to.

    Raises:
        GlowPipelineError: one cannot; the line names it and its owner.
    """
    for path in _outputs(pipeline, catalog):
        existing = next(folder for folder in (path, *path.parents) if folder.exists())
        if not existing.is_dir():
            raise GlowPipelineError(f"{existing}: is a file, where a folder is needed for {path.name}; move it away")
        lock = existing / ".lock"
        if not os.access(existing, os.W_OK | os.X_OK) or (lock.exists() and not os.access(lock, os.W_OK)):
            raise GlowPipelineError(not_permitted(existing))


def not_permitted(path: Path) -> str:
    """Return one line about a file or folder that belongs to another user, or is on a disk that is read-only."""
    known = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if _is_read_only(known):
        return f"{path}: its disk is mounted read-only; mount it for writing, or run in a clone on another disk"
    return (
        f"{path}: belongs to {_owner(known)} and cannot be used; ask for permission (chmod -R g+rwX of data/ and "
        f"mlflow.db), or run in a clone of your own"
    )


def _outputs(pipeline: Pipeline, catalog: DataCatalog) -> Iterator[Path]:
    """Yield the folders of all that is stored, those of checkpoints included."""
    outputs = pipeline.all_outputs()
    for name in sorted(outputs):
        dataset = catalog.get(name)
        if isinstance(dataset, AbstractVersionedDataset) and is_local(dataset):
            yield Path(dataset._filepath)
    if outputs & {"untrained_glow", "search_results"}:
        yield Path(catalog.load("checkpoints"))


def _is_read_only(path: Path) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)  # Windows has no statvfs


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, NotImplementedError):  # a user without a name; Windows
        return f"user {path.stat().st_uid}"

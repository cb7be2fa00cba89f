"""The files of the catalog's entries, on a local disk or elsewhere."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractVersionedDataset

from glow_pipeline.datasets.picture import frames_folder
from glow_pipeline.datasets.places import LOCAL


def artifact_places(dataset: AbstractVersionedDataset[Any, Any]) -> list[Path | str]:
    """Return the files and folders that belong to what the dataset would load now: local paths, or addresses."""
    local = is_local(dataset)
    return [Path(path) if local else f"{_protocol(dataset)}://{path}" for path in _paths(dataset)]


def stored_bytes(dataset: AbstractVersionedDataset[Any, Any]) -> int:
    """Return the size of what the dataset would load now: of its files, without those in folders beside them."""
    if is_local(dataset):
        return sum(Path(path).stat().st_size for path in _paths(dataset) if Path(path).is_file())
    fs = dataset._fs  # type: ignore[attr-defined]
    return sum(fs.size(path) or 0 for path in _paths(dataset))


@contextmanager
def artifact_files(dataset: AbstractVersionedDataset[Any, Any]) -> Iterator[list[Path]]:
    """Yield the same as local files; copies of remote ones exist within the block."""
    paths = _paths(dataset)
    if is_local(dataset):
        yield [Path(path) for path in paths]
        return
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / PurePosixPath(path).name for path in paths]
        for path, copy in zip(paths, copies, strict=True):
            # All with a protocol have a file system. A slash at the end: a folder's content goes into the copy.
            if dataset._fs.isdir(path):  # type: ignore[attr-defined]
                dataset._fs.get(f"{path}/", f"{copy}/", recursive=True)  # type: ignore[attr-defined]
            else:
                dataset._fs.get_file(path, str(copy))  # type: ignore[attr-defined]
        yield copies


def is_local(dataset: AbstractVersionedDataset[Any, Any]) -> bool:
    """Return whether the dataset's files are on a local disk."""
    return _protocol(dataset) == LOCAL


def _protocol(dataset: AbstractVersionedDataset[Any, Any]) -> str:
    """Return fsspec's name of the dataset's storage; our datasets and those of kedro-datasets have it."""
    protocol: str = getattr(dataset, "_protocol", LOCAL)
    return protocol


def _paths(dataset: AbstractVersionedDataset[Any, Any]) -> list[str]:
    """Return the paths of the dataset's files and folders; a picture may have an animation and frames beside it."""
    path = dataset._get_load_path()
    if not path.suffix:
        return [str(path)]
    frames = str(frames_folder(path))
    if is_local(dataset):
        beside = [*Path(path.parent).glob(f"{path.stem}.*"), Path(frames)]
        return sorted(str(each) for each in beside if each.exists())
    files = list(dataset._glob_function(str(path.with_suffix(".*"))))
    return sorted([*files, frames] if dataset._fs.isdir(frames) else files)  # type: ignore[attr-defined]

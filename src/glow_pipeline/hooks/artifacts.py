"""The files of the catalog's entries, on a local disk or elsewhere."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractVersionedDataset

LOCAL = "file"


def artifact_places(dataset: AbstractVersionedDataset[Any, Any]) -> list[Path | str]:
    """Return the files or the folder that loading the dataset would read now: local paths, or addresses."""
    local = is_local(dataset)
    return [Path(path) if local else f"{_protocol(dataset)}://{path}" for path in _paths(dataset)]


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
            dataset._fs.get_file(path, str(copy))  # type: ignore[attr-defined] # all with a protocol have it
        yield copies


def is_local(dataset: AbstractVersionedDataset[Any, Any]) -> bool:
    """Return whether the dataset's files are on a local disk."""
    return _protocol(dataset) == LOCAL


def _protocol(dataset: AbstractVersionedDataset[Any, Any]) -> str:
    """Return fsspec's name of the dataset's storage; our datasets and those of kedro-datasets have it."""
    protocol: str = getattr(dataset, "_protocol", LOCAL)
    return protocol


def _paths(dataset: AbstractVersionedDataset[Any, Any]) -> list[str]:
    """Return the paths of the dataset's files; a picture may have its GIF beside it."""
    path = dataset._get_load_path()
    if not path.suffix:
        return [str(path)]
    if is_local(dataset):
        return sorted(map(str, Path(path.parent).glob(f"{path.stem}.*")))
    return sorted(dataset._glob_function(str(path.with_suffix(".*"))))

"""Checks of the catalog's entries, which Kedro makes only on their first use."""

from collections.abc import Iterable
from typing import Any

from kedro.io import AbstractVersionedDataset, DataCatalog, DatasetError

from glow_pipeline.datasets.bucket_files import BucketFiles
from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.hooks.artifacts import is_local
from glow_pipeline.remote_storage import storage_failures


def check_entries(catalog: DataCatalog, names: Iterable[str], written: Iterable[str] = ()) -> None:
    """Make the entries of these names, and check that the remote storages of those that will be written answer.

    Raises:
        GlowPipelineError: an entry cannot be made as catalog.yml says, or its storage does not answer.
    """
    for name in sorted(names):
        try:
            dataset = catalog.get(name)
            if name in written and isinstance(dataset, AbstractVersionedDataset) and not is_local(dataset):
                # Kedro's own `exists` takes a storage that does not answer for one without versions.
                _check_answers(dataset._fs, str(dataset._filepath))  # type: ignore[attr-defined] # all not local have it
        except _failures() as error:  # called when there is one: only then is the storage's package imported
            raise GlowPipelineError(f"catalog.yml: {name}: {_reason(error)}") from error


def _check_answers(files: Any, path: str) -> None:
    """Ask a storage for something, so that one that does not answer raises."""
    if isinstance(files, BucketFiles):
        files.address(path).check_bucket()
    else:
        files.exists(path)


def _failures() -> tuple[type[Exception], ...]:
    return DatasetError, *storage_failures()


def _reason(error: BaseException) -> str:
    """Return the first line of the cause of Kedro's error."""
    while isinstance(error, DatasetError) and error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)

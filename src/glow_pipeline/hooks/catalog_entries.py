"""Checks of the catalog's entries, which Kedro makes only when they are first used."""

from collections.abc import Iterable

from kedro.io import AbstractVersionedDataset, DataCatalog, DatasetError

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.artifacts import is_local
from glow_pipeline.remote_storage import storage_failures


def check_entries(catalog: DataCatalog, names: Iterable[str], written: Iterable[str] = ()) -> None:
    """Make the entries of these names; of those that will be written, ask each remote storage whether it answers.

    Raises:
        GlowPipelineError: an entry cannot be made as catalog.yml says, or its storage does not answer.
    """
    for name in sorted(names):
        try:
            dataset = catalog.get(name)
            if name in written and isinstance(dataset, AbstractVersionedDataset) and not is_local(dataset):
                # Kedro's own `exists` takes a storage that does not answer for one without versions.
                dataset._fs.exists(str(dataset._filepath))  # type: ignore[attr-defined] # all with a protocol have it
        except _failures() as error:  # called when there is one: only then is the storage's package imported
            raise GlowPipelineError(f"catalog.yml: {name}: {_reason(error)}") from error


def _failures() -> tuple[type[Exception], ...]:
    return DatasetError, *storage_failures()


def _reason(error: BaseException) -> str:
    """Return the first line of what Kedro's error was caused by."""
    while isinstance(error, DatasetError) and error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

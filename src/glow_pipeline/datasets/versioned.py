"""Versions of artifacts: a run loads the versions that it has saved itself."""

from pathlib import PurePosixPath
from typing import Any, TypeVar

from kedro.io import AbstractVersionedDataset, Version

from glow_pipeline.datasets.places import local_path

_DI = TypeVar("_DI")
_DO = TypeVar("_DO")


class OwnVersionDataset(AbstractVersionedDataset[_DI, _DO]):
    """A versioned dataset that loads the version that it has saved, if it has saved one.

    Kedro by itself loads the version with the newest label, whichever run saved it: with two trainings at once, or
    after a wrong clock, a run would measure another run's model.
    """

    _saved_version: str | None = None

    def resolve_load_version(self) -> str | None:
        return self._saved_version or super().resolve_load_version()

    def _get_save_path(self) -> PurePosixPath:
        path = super()._get_save_path()
        self._saved_version = self.resolve_save_version()
        return path


class LocalVersionDataset(OwnVersionDataset[_DI, _DO]):
    """Such a dataset in a local file or folder, to be derived from.

    Args:
        filepath: path of the file or folder.
        version: set by `versioned: true`.
        metadata: data for plugins.
    """

    def __init__(
        self, *, filepath: str, version: Version | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.metadata = metadata
        super().__init__(PurePosixPath(local_path(filepath)), version)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}

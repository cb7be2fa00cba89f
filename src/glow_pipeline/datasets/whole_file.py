"""Another dataset's file, written whole or not at all."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, Version

from glow_pipeline.datasets.stored_file import StoredFileDataset


class WholeFileDataset(StoredFileDataset[Any, Any]):
    """Lets any single-file Kedro dataset write to a temporary local path, and then moves or uploads its file.

    kedro-datasets write in place: after a kill half a file would be the newest version.

    Args:
        filepath, version, credentials, fs_args, metadata: as of `StoredFileDataset`.
        dataset: the wrapped dataset's configuration, without those.
    """

    def __init__(
        self,
        *,
        filepath: str,
        dataset: dict[str, Any],
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._config = dataset
        super().__init__(
            filepath=filepath, version=version, credentials=credentials, fs_args=fs_args, metadata=metadata
        )

    def load(self) -> Any:
        with self._reading(self._get_load_path()) as path:
            return self._wrapped(path).load()

    def save(self, data: Any) -> None:
        with self._writing(self._get_save_path()) as path:
            self._wrapped(path).save(data)

    def _wrapped(self, path: Path) -> AbstractDataset[Any, Any]:
        return AbstractDataset.from_config(self._filepath.name, {**self._config, "filepath": str(path)})

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "dataset": self._config}

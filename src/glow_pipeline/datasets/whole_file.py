"""Another dataset's file, written whole or not at all."""

from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractDataset, Version

from glow_pipeline.datasets.versioned import OwnVersionDataset
from glow_pipeline.files import written_whole


class WholeFileDataset(OwnVersionDataset[Any, Any]):
    """Lets any single-file Kedro dataset write beside the final path, and then renames.

    kedro-datasets write in place: after a kill half a file would be the newest version.

    Args:
        filepath: of the file.
        dataset: the wrapped dataset's configuration, without filepath and versioned.
        version: set by `versioned: true`.
        metadata: for plugins.
    """

    def __init__(
        self,
        *,
        filepath: str,
        dataset: dict[str, Any],
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._config = dataset
        self.metadata = metadata
        super().__init__(PurePosixPath(filepath), version)

    def load(self) -> Any:
        return self._wrapped(Path(self._get_load_path())).load()

    def save(self, data: Any) -> None:
        with written_whole(Path(self._get_save_path())) as temporary:
            self._wrapped(temporary).save(data)

    def _wrapped(self, path: Path) -> AbstractDataset[Any, Any]:
        return AbstractDataset.from_config(self._filepath.name, {**self._config, "filepath": str(path)})

    def _exists(self) -> bool:
        return Path(self._get_load_path()).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "dataset": self._config, "version": self._version}

"""Kedro dataset that writes another dataset's file completely or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError, Version

from glow_pipeline.datasets.previews import NOT_MADE, csv_preview, json_file_preview, parquet_preview, yaml_preview
from glow_pipeline.datasets.stored_file import StoredFileDataset

# Name of the wrapped dataset's class -> the function that shows its file.
PREVIEWS: dict[str, Callable[[Path], Any]] = {
    "CSVDataset": csv_preview,
    "ParquetDataset": parquet_preview,
    "JSONDataset": json_file_preview,
    "StrictJSONDataset": json_file_preview,
    "TextDataset": yaml_preview,
}


class WholeFileDataset(StoredFileDataset[Any, Any]):
    """Another single-file dataset, which writes to a temporary local path; its file is then moved or uploaded.

    kedro-datasets write in place: a killed process would leave an incomplete file as the newest version.

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
            try:
                self._wrapped(path).save(data)
            except DatasetError as error:
                if isinstance(error.__cause__, OSError):  # of a full disk `_writing` gives the one line
                    raise error.__cause__ from None
                raise

    @property
    def preview(self) -> Callable[[], Any]:
        """The function that returns what kedro viz shows, annotated with its kind, by the kind of file.

        Raises:
            AttributeError: files of this kind have no preview.
        """
        kind = str(self._config["type"]).rpartition(".")[2]
        if kind not in PREVIEWS or (kind == "TextDataset" and self._filepath.suffix != ".yml"):
            raise AttributeError(f"a {kind} has no preview")
        show = PREVIEWS[kind]

        def preview() -> Any:
            if not self.exists():
                return NOT_MADE
            with self._reading(self._get_load_path()) as path:
                return show(path)

        preview.__annotations__["return"] = show.__annotations__["return"]
        return preview

    def _wrapped(self, path: Path) -> AbstractDataset[Any, Any]:
        return AbstractDataset.from_config(self._filepath.name, {**self._config, "filepath": str(path)})

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "dataset": self._config}

"""Kedro dataset of a table in a CSV file."""

from typing import Any

from kedro.io import Version

from glow_pipeline.datasets.whole_file import WholeFileDataset


class CSVTableDataset(WholeFileDataset):
    """pandas.CSVDataset, whose file is complete or absent.

    Args:
        filepath, version, credentials, fs_args, metadata: as of `StoredFileDataset`.
        load_args, save_args: as of pandas.CSVDataset.
    """

    def __init__(
        self,
        *,
        filepath: str,
        load_args: dict[str, Any] | None = None,
        save_args: dict[str, Any] | None = None,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        config = {"type": "pandas.CSVDataset", "load_args": load_args or {}, "save_args": save_args or {}}
        super().__init__(
            filepath=filepath,
            dataset=config,
            version=version,
            credentials=credentials,
            fs_args=fs_args,
            metadata=metadata,
        )

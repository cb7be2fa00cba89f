"""Kedro dataset of a folder that a node reads and writes by itself."""

from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from glow_pipeline.buckets import Address
from glow_pipeline.datasets.places import bucket_files, local_path, protocol_and_path
from glow_pipeline.datasets.previews import NOT_MADE, table_preview

LISTED = 100  # names


class StoreDataset(AbstractDataset[NoReturn, Path | Address]):
    """A place of files that are written once: the absolute path of a folder, or the address of one in a bucket.

    Args:
        filepath: path or address.
        credentials, fs_args: for a bucket: options of `pyarrow.fs`, also by their names in s3fs.
        metadata: data for plugins.
    """

    def __init__(
        self,
        *,
        filepath: str,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        protocol, path = protocol_and_path(filepath)
        bucket = bucket_files(filepath, credentials, fs_args)
        self._place = Path(path) if bucket is None else bucket.address(path)
        self._protocol, self.metadata = protocol, metadata

    def load(self) -> Path | Address:
        return self._place

    def save(self, data: NoReturn) -> None:  # noqa: ARG002
        raise DatasetError(f"{self._place}: load the place and write files there")

    def _exists(self) -> bool:
        return self._place.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._place)}


class FolderDataset(AbstractDataset[NoReturn, Path]):
    """The absolute path of a folder, whatever the working directory is.

    Args:
        filepath: path of the folder.
        metadata: data for plugins.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(local_path(filepath))
        self.metadata = metadata

    def load(self) -> Path:
        return self._filepath

    def save(self, data: NoReturn) -> None:  # noqa: ARG002
        raise DatasetError(f"{self._filepath}: load the path and write into that folder")

    def preview(self) -> TablePreview:
        """Return the names of what is in the folder, for kedro viz."""
        if not self.exists():
            return NOT_MADE
        found = sorted(path for path in islice(self._filepath.iterdir(), LISTED) if not path.name.startswith("."))
        return table_preview(
            pd.DataFrame({"name": [f"{path.name}/" if path.is_dir() else path.name for path in found]})
        )

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}

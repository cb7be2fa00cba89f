"""Kedro dataset of a table of scores, which may be larger than memory."""

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import Version
from kedro_datasets._typing import TablePreview

from glow_pipeline.datasets.places import LOCAL
from glow_pipeline.datasets.previews import NOT_MADE, parquet_preview
from glow_pipeline.datasets.stored_file import StoredFileDataset
from glow_pipeline.outliers.score_table import MOST_IN_MEMORY, ScoreTable, StoredScores


class ScoreTableDataset(StoredFileDataset[pd.DataFrame | ScoreTable, pd.DataFrame | ScoreTable]):
    """A row an image in a parquet file, which is complete or absent, and is written and read in pieces.

    It loads as a DataFrame, a table of more rows as a `ScoreTable`: its `frames()` are DataFrames of some rows each,
    `column(name)` is an array, and `frame()` the DataFrame of all rows.

    Args:
        filepath, version, credentials, fs_args, metadata: as of `StoredFileDataset`.
        frame_rows: most rows of a table that loads as a DataFrame, which needs some 250 bytes a row.
    """

    def __init__(
        self,
        *,
        filepath: str,
        frame_rows: int = MOST_IN_MEMORY,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._frame_rows = frame_rows
        super().__init__(
            filepath=filepath, version=version, credentials=credentials, fs_args=fs_args, metadata=metadata
        )

    def load(self) -> pd.DataFrame | ScoreTable:
        path = self._get_load_path()
        opener = None if self._protocol == LOCAL else lambda name: self._fs.open(name, "rb")
        stored = StoredScores([str(path)], opener)
        if len(stored) > self._frame_rows:
            return stored
        with self._reading(path) as local:
            return pd.read_parquet(local)

    def save(self, data: pd.DataFrame | ScoreTable) -> None:
        with self._writing(self._get_save_path()) as path:
            data.to_parquet(path)

    def preview(self) -> TablePreview:
        """Return the first rows, for kedro viz."""
        if not self.exists():
            return NOT_MADE
        with self._reading(self._get_load_path()) as path:
            return parquet_preview(Path(path))

"""Kedro dataset of several image tables."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pandas as pd
from kedro.io import DatasetError, Version
from kedro_datasets._typing import TablePreview

from glow_pipeline.datasets.image_table import ImageTableDataset
from glow_pipeline.datasets.previews import NOT_MADE, table_preview
from glow_pipeline.datasets.versioned import LocalVersionDataset
from glow_pipeline.images.table import RECORD, ImageTable, TableRecord
from glow_pipeline.images.table_writer import TableWriter


class ImageTablesDataset(LocalVersionDataset[Mapping[str, TableWriter], dict[str, ImageTable]]):
    """Tables by name, each where an `ImageTableDataset` of its images would be.

    Those that this run has saved can be loaded.

    Args:
        filepath: folder of the tables of all sources.
        version: set by `versioned: true`.
        metadata: data for plugins.
    """

    _saved: dict[str, ImageTableDataset] | None = None

    def save(self, data: Mapping[str, TableWriter]) -> None:
        saved = {}
        for name, writer in data.items():
            folder = self._filepath / writer.origin.name / writer.origin.split
            dataset = ImageTableDataset(filepath=str(folder), version=Version(None, self.resolve_save_version()))
            dataset.identify(writer.origin.image_format)
            dataset.save(writer)
            saved[name] = dataset
        self._saved, self._saved_version = saved, self.resolve_save_version()

    def load(self) -> dict[str, ImageTable]:
        if self._saved is None:
            raise DatasetError(f"{self._filepath}: this run has saved no tables")
        return {name: dataset.load() for name, dataset in self._saved.items()}

    def preview(self) -> TablePreview:
        """Return which tables are stored, also those of other runs, for kedro viz."""
        records = sorted(Path(self._filepath).glob(f"*/*/*/*/*/{RECORD}"))
        newest = {path.parents[2]: TableRecord.model_validate_json(path.read_bytes()) for path in records}
        rows = [
            {"images": record.name, "split": record.split, "format": record.image_format.key, "count": record.count}
            for record in newest.values()
        ]
        return table_preview(pd.DataFrame(rows)) if rows else NOT_MADE

    def _exists(self) -> bool:
        return self._saved is not None

    def _get_load_path(self) -> PurePosixPath:
        return self._filepath  # the tables are in several folders of it

"""Kedro dataset of several image tables."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pandas as pd
from kedro.io import DatasetError, Version
from kedro_datasets._typing import TablePreview

from glow_pipeline.datasets.image_table import ImageTableDataset
from glow_pipeline.datasets.previews import NOT_MADE, table_preview
from glow_pipeline.datasets.versioned import CopiedVersionDataset
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.images.table_files import RECORD
from glow_pipeline.images.table_writer import TableWriter
from glow_pipeline.workers.choice import Workers


class ImageTablesDataset(CopiedVersionDataset[Mapping[str, TableWriter], dict[str, ImageTable]]):
    """Tables by name, each where an `ImageTableDataset` of its images would be.

    Those that this run has saved can be loaded.

    Attributes:
        workers: who makes the parts of the tables.

    Args:
        filepath: folder of the tables of all sources, or its address.
        version, credentials, fs_args, metadata: as of `CopiedVersionDataset`.
    """

    workers = Workers()
    _saved: dict[str, ImageTableDataset] | None = None

    def save(self, data: Mapping[str, TableWriter]) -> None:
        saved = {}
        for name, writer in data.items():
            folder = self._filepath / writer.origin.name / writer.origin.split
            dataset = ImageTableDataset(
                filepath=str(folder) if self.is_local else str(self._fs.address(folder)),
                version=Version(None, self.resolve_save_version()),
                **self._connection,
            )
            dataset.identify(writer.origin.image_format)
            dataset.workers = self.workers
            dataset.save(writer)
            saved[name] = dataset
        self._saved, self._saved_version = saved, self.resolve_save_version()

    @property
    def pending(self) -> str | None:
        """Return what this run has done for tables of which parts are missing; None where all are complete."""
        done = [dataset.pending for dataset in (self._saved or {}).values() if dataset.pending is not None]
        return "; ".join(done) or None

    def load(self) -> dict[str, ImageTable]:
        if self._saved is None:
            raise DatasetError(f"{self._filepath}: this run has saved no tables")
        return {name: dataset.load() for name, dataset in self._saved.items()}

    def preview(self) -> TablePreview:
        """Return which tables are stored, also those of other runs, for kedro viz."""
        records = sorted(Path(self._filepath).glob(f"*/*/*/*/*/{RECORD}")) if self.is_local else []
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

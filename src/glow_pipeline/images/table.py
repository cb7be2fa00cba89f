"""The image table: prepared images in a memory map, with their labels and a record of what they are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.files import sha256
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.source import Chunk, Source, Split
from glow_pipeline.images.spec import ImageSpec

IMAGES, LABELS, RECORD = "images.npy", "labels.npy", "record.json"


class TableRecord(BaseModel):
    """What a table holds and what it was made from; two tables with equal records hold the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    split: Split
    spec: ImageSpec
    count: int
    num_classes: int
    source_files: dict[str, str]  # file name -> sha256
    made_with: dict[str, str]  # whatever else the pixels depend on


@dataclass(frozen=True)
class PlannedTable:
    """A table that can be written, or left unwritten when one with the same record is there already."""

    record: TableRecord
    chunks: Callable[[], Iterator[Chunk]]

    def write(self, folder: Path) -> None:
        """Decode, prepare and write chunk by chunk, so that memory does not grow with the number of images."""
        record = self.record
        folder.mkdir()
        images = np.lib.format.open_memmap(
            folder / IMAGES, mode="w+", dtype=np.uint8, shape=(record.count, *record.spec.shape)
        )
        labels = np.empty(record.count, dtype=np.int64)
        done = stop = 0
        with tqdm(total=record.count, desc=f"ingest {record.source} {record.split}", unit="img", delay=2) as bar:
            for chunk in self.chunks():
                stop = done + len(chunk.images)
                if stop > record.count:
                    break
                images[done:stop] = prepare(chunk.images, record.spec).numpy()
                labels[done:stop] = chunk.labels.numpy()
                bar.update(stop - done)
                done = stop
        if stop != record.count:
            raise ValueError(f"{record.source} {record.split}: {record.count} images were expected, {stop} came")
        images.flush()
        np.save(folder / LABELS, labels, allow_pickle=False)
        (folder / RECORD).write_text(record.model_dump_json(indent=2))


def plan_table(source: Source, split: Split, spec: ImageSpec, raw: Path) -> PlannedTable:
    """Find (or fetch) and checksum the source's files; decode nothing yet.

    Args:
        raw: folder that holds source files, one folder a source.
    """
    files = source.files(raw, split)
    record = TableRecord(
        source=source.name,
        split=split,
        spec=spec,
        count=source.count(files, split),
        num_classes=source.num_classes,
        source_files={file.name: sha256(file) for file in files},
        made_with={"table_format": "1", "torch": version("torch")},
    )
    return PlannedTable(record, lambda: source.read(files, split))


class ImageTable:
    """Images of a written table, or of some of its rows. Opening one reads no pixel.

    Args:
        folder: where the table lies.
        rows: which rows of it, and in what order; None for all.
    """

    def __init__(self, folder: Path, rows: NDArray[np.int64] | None = None) -> None:
        self.folder = folder
        self.record = TableRecord.model_validate_json((folder / RECORD).read_text())
        self.rows = np.arange(self.record.count) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        r = self.record
        return f"ImageTable({r.source} {r.split}, {len(self)} images {r.spec.key})"

    def subset(self, indices: NDArray[np.int64]) -> Self:
        """The table of these images, in this order; nothing is copied."""
        return type(self)(self.folder, self.rows[indices])

    def __getitem__(self, indices: Any) -> tuple[Tensor, Tensor]:
        """Images uint8 (n, C, H, W) below 2**n_bits and labels int64 (n,), for a slice or an array of indices."""
        rows = self.rows[indices]
        return torch.from_numpy(self._images[rows]), torch.from_numpy(self._labels[rows])

    @property
    def labels(self) -> Tensor:
        """All labels, int64 (N,), without a look at the images."""
        return torch.from_numpy(self._labels[self.rows])

    @cached_property
    def _images(self) -> NDArray[np.uint8]:
        images: NDArray[np.uint8] = np.load(self.folder / IMAGES, mmap_mode="r", allow_pickle=False)
        return images

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        labels: NDArray[np.int64] = np.load(self.folder / LABELS, mmap_mode="r", allow_pickle=False)
        return labels

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes where the table lies, not its pixels."""
        return {"folder": self.folder, "record": self.record, "rows": self.rows}


def draw_validation(table: ImageTable, percentage: float, generator: torch.Generator) -> tuple[ImageTable, ImageTable]:
    """Split a training table at random into images to fit and images to validate on; both keep the table's order."""
    n_val = min(max(1, round(len(table) * percentage / 100)), len(table) - 1)
    order = torch.randperm(len(table), generator=generator).numpy()
    return table.subset(np.sort(order[n_val:])), table.subset(np.sort(order[:n_val]))

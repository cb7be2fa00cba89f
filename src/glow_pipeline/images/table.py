"""The image table: prepared images in a memory map, with their labels and a record of what they are."""

import json
import logging
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from glow_pipeline.images.file_formats import FileFormats
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import Split

IMAGES, LABELS, CONTENT, NAMES, RECORD = "images.npy", "labels.npy", "content.npy", "names.json", "record.json"
OnUnreadable = Literal["stop", "skip"]


class TableOrigin(BaseModel):
    """Origin of a table: its source files and how they are prepared. Tables of equal origin hold the same bytes.

    Attributes:
        source_files: file name -> SHA-256.
        made_with: whatever else the pixels depend on, such as versions of libraries.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    # The aliases are the names in files, which stay so that tables and models of all versions can be read.
    image_selection: ImageSelection = Field(alias="image_set")
    split: Split
    image_format: ImageFormat = Field(alias="spec")
    source_files: dict[str, str]
    on_unreadable: OnUnreadable
    made_with: dict[str, str]

    @property
    def name(self) -> str:
        """Name of the images: `mnist`, `pneumoniamnist_class_0`, ..."""
        return self.image_selection.key

    @property
    def title(self) -> str:
        """Name of the images and their split: `mnist train`."""
        return f"{self.name} {self.split}"

    @property
    def origin_fields(self) -> dict[str, Any]:
        """The fields of the origin alone, by name."""
        return {name: getattr(self, name) for name in TableOrigin.model_fields}

    def makes_the_same(self, other: "TableOrigin") -> bool:
        """Return whether tables of both hold the same bytes; a folder's path and name do not matter."""
        return self._independent_of_place == other._independent_of_place

    @property
    def _independent_of_place(self) -> dict[str, Any]:
        fields = self.origin_fields
        if self.image_selection.is_folder:
            # Whether there is a separate folder for testing follows from `eval_percentage`.
            fields["image_selection"] = self.image_selection.model_copy(
                update={"path": None, "eval_path": None, "name": None, "class_names": None}
            )
            fields["source_files"] = list(self.source_files.values())
        return fields


class TableRecord(TableOrigin):
    """Content of a table, and its origin.

    Attributes:
        num_classes: classes of the source, also where the table has images of some classes only.
        own_validation: number of images at the end that the source itself sets apart for validation.
        class_names: names of a folder's classes, by number; "" for images directly in it.
        unreadable: files that were left out -> reason.
        passed_over: other files of the folder, by suffix or kind -> how many.
        findings: findings in the files that were decoded.
        file_formats: formats of these files or arrays; None: the table is from before November 2026.
    """

    count: int
    num_classes: int
    own_validation: int = 0
    class_names: list[str] = []
    unreadable: dict[str, str] = {}
    passed_over: dict[str, int] = {}
    findings: Findings = Findings()
    file_formats: FileFormats | None = None

    def report(self, logger: logging.Logger) -> None:
        """Log how images were reinterpreted, and warn where that is probably an error."""
        for note in self.findings.notes(self.image_format):
            logger.info("%s: %s", self.title, note)
        for warning in self.findings.warnings(self.image_format):
            logger.warning("%s: %s", self.title, warning)

    @property
    def origin(self) -> TableOrigin:
        return TableOrigin(**self.origin_fields)


class ImageTable:
    """Images of a written table, or of some of its rows. Opening one reads no pixel.

    Args:
        folder: folder of the table.
        rows: rows of the table, in any order; None for all.
    """

    def __init__(self, folder: Path, rows: NDArray[np.int64] | None = None) -> None:
        self.folder = folder
        self.record = TableRecord.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
        self.rows = np.arange(self.record.count) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        r = self.record
        return f"ImageTable({r.name} {r.split}, {len(self)} images {r.image_format.key})"

    def subset(self, indices: NDArray[np.int64]) -> Self:
        """Return a view of these images, in this order; nothing is copied."""
        return type(self)(self.folder, self.rows[indices])

    def __getitem__(self, indices: Any) -> tuple[Tensor, Tensor]:
        """Return images uint8 (n, C, H, W) below 2**n_bits and labels int64 (n,) of a slice or an array of indices."""
        rows = self.rows[indices]
        return torch.from_numpy(self._images[rows]), torch.from_numpy(self._labels[rows])

    @property
    def labels(self) -> Tensor:
        """All labels, int64 (N,); reads no image."""
        return torch.from_numpy(self._labels[self.rows])

    @property
    def content_hashes(self) -> NDArray[np.int64]:
        """Hashes of the images' pixels int64 (N,), by `content.content_hash`; equal for exact copies."""
        hashes: NDArray[np.int64] = np.load(self.folder / CONTENT, mmap_mode="r", allow_pickle=False)
        return hashes[self.rows]

    def without(self, hashes: NDArray[np.int64]) -> Self:
        """Return the table without the images whose content hash is one of these."""
        return self.subset(np.flatnonzero(~np.isin(self.content_hashes, hashes)))

    @property
    def names(self) -> list[str] | None:
        """Names of the images' files; None where images have no files of their own."""
        if not (self.folder / NAMES).is_file():
            return None
        names = json.loads((self.folder / NAMES).read_text(encoding="utf-8"))
        return [names[row] for row in self.rows]

    @cached_property
    def _images(self) -> NDArray[np.uint8]:
        images: NDArray[np.uint8] = np.load(self.folder / IMAGES, mmap_mode="r", allow_pickle=False)
        return images

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        labels: NDArray[np.int64] = np.load(self.folder / LABELS, mmap_mode="r", allow_pickle=False)
        return labels

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the path of the table, not its pixels."""
        return {"folder": self.folder, "record": self.record, "rows": self.rows}

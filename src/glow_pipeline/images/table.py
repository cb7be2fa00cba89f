"""The image table: prepared images in a memory map, with their labels and a record of what they are."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_jsonable_python
from torch import Tensor

from glow_pipeline.images.content_sets import are_among
from glow_pipeline.images.fetched import fetch_images
from glow_pipeline.images.file_formats import FileFormats
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.rows import (
    CHUNK,
    LARGE,
    PackedRows,
    Places,
    Rows,
    TableRows,
    in_few_bytes,
    packed,
    places_of_range,
    rows_where,
)
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.stored_images import StoredImages
from glow_pipeline.images.table_files import (
    CONTENT,
    FEW_NAMES,
    IMAGES,
    LABELS,
    NAMES,
    PARTS,
    RECORD,
    UNREADABLE,
    PartFile,
    UnreadableFile,
    read_names,
    read_parts,
    read_unreadable,
)
from glow_pipeline.stores import Store

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

    def digest(self, *, with_libraries: bool = True) -> str:
        """Return 16 hexadecimal digits that are equal for origins of equal tables.

        Args:
            with_libraries: also the versions of libraries count.
        """
        fields = {name: to_jsonable_python(value) for name, value in self._independent_of_place.items()}
        if not with_libraries:
            fields.pop("made_with")
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

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
        n_unreadable: number of files that were left out; `ImageTable.unreadable` names them.
        named_unreadable: files that were left out -> reason, in tables from before December 2026; empty since.
        passed_over: other files of the folder, by suffix or kind -> how many.
        findings: findings in the files that were decoded.
        file_formats: formats of these files or arrays; None: the table is from before November 2026.
    """

    count: int
    num_classes: int
    own_validation: int = 0
    class_names: list[str] = []
    n_unreadable: int = 0
    named_unreadable: dict[str, str] = Field({}, alias="unreadable", exclude_if=lambda named: not named)
    passed_over: dict[str, int] = {}
    findings: Findings = Findings()
    file_formats: FileFormats | None = None

    @model_validator(mode="after")
    def _count_named(self) -> Self:
        """Count the unreadable files that an earlier version has named in the record."""
        if self.named_unreadable and not self.n_unreadable:
            object.__setattr__(self, "n_unreadable", len(self.named_unreadable))
        return self

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
    """Images of a written table, or of some of its rows. Opening one reads its record alone.

    Args:
        folder: folder of the table.
        rows: rows of the table, in any order; None for all.
        store: a bucket from which files of images come into the folder when one of their images is read first; None:
            all of them are there.

    Attributes:
        rows: rows of the table: a range where they are all; of a large table packed where they are many and increase;
            else int32, or int64 in a table of 2**31 images.
    """

    def __init__(self, folder: Path, rows: TableRows | None = None, store: Store | None = None) -> None:
        self.folder, self.store = folder, store
        self.record = TableRecord.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
        self.rows = range(self.record.count) if rows is None else in_few_bytes(rows, self.record.count)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        r = self.record
        return f"ImageTable({r.name} {r.split}, {len(self)} images {r.image_format.key})"

    def subset(self, indices: Places | PackedRows) -> Self:
        """Return a view of these images, in this order; nothing is copied."""
        if isinstance(indices, PackedRows):
            is_complete = isinstance(self.rows, range) and self.rows == range(self.record.count)
            return self.of_rows(indices if is_complete else self.rows_at(indices[:]))
        return self.of_rows(self.rows_at(indices))

    def of_rows(self, rows: TableRows) -> Self:
        """Return a view of these rows of the table, whatever rows this view has."""
        view = type(self).__new__(type(self))
        view.__dict__.update(self.__dict__, rows=in_few_bytes(rows, self.record.count))
        return view

    def rows_at(self, indices: Places) -> Rows:
        """Return the rows of the images at these places of this view."""
        if isinstance(indices, range):
            indices = slice(indices.start, indices.stop) if indices.step == 1 else np.array(indices, dtype=np.int64)
        if isinstance(self.rows, range):
            return self.rows[indices] if isinstance(indices, slice) else places_of_range(self.rows, np.asarray(indices))
        return self.rows[indices]

    def __getitem__(self, indices: Places) -> tuple[Tensor, Tensor]:
        """Return copies: images uint8 (n, C, H, W) below 2**n_bits and labels int64 (n,)."""
        rows = self.rows_at(indices)
        labels = _picked(self._labels, rows)
        if labels.base is not None:
            labels = labels.copy()
        return torch.from_numpy(self._images[rows]), torch.from_numpy(labels)

    @property
    def labels(self) -> Tensor:
        """All labels, int64 (N,); reads no image. Of a complete table they stay on disk until they are used."""
        return torch.from_numpy(self._values(LABELS))

    @property
    def content_hashes(self) -> NDArray[np.int64]:
        """Hashes of the images' pixels int64 (N,), by `content.content_hash`; equal for exact copies.

        Of a complete table they stay on disk until they are used.
        """
        return self._values(CONTENT)

    @property
    def stored_hashes(self) -> "StoredHashes":
        """The content hashes where they are; for tables of any size."""
        return StoredHashes(self)

    def without(self, hashes: NDArray[np.int64]) -> Self:
        """Return the table without the images whose content hash is one of these."""
        return self.subset(rows_where(are_among(self.stored_hashes, [hashes]), False))

    @property
    def names(self) -> Sequence[str] | None:
        """Names of the images' files, read when they are needed; None where images have no files of their own."""
        for name in (NAMES, FEW_NAMES):
            if (self.folder / name).is_file():
                return read_names(self.folder / name, self.rows)
        return None

    def unreadable(self) -> Iterator[UnreadableFile]:
        """Yield the files of the source that were left out of the table, whatever rows this view has."""
        if (self.folder / UNREADABLE).is_file():
            return read_unreadable(self.folder / UNREADABLE)
        return (UnreadableFile(*named) for named in self.record.named_unreadable.items())

    def fetch(self) -> None:
        """Copy all files of images of a table in a bucket now, before processes that only read it are forked."""
        if self.store is not None:
            for part in self.image_files():
                fetch_images(self.store, self.record.title, self.folder / part.file)

    def image_files(self) -> list[PartFile]:
        """Return the files of images in the order of their rows; of a single one no SHA-256 is known."""
        if (self.folder / PARTS).is_file():
            return read_parts(self.folder / PARTS)
        return [PartFile(IMAGES, self.record.count, "")]

    @cached_property
    def _images(self) -> StoredImages:
        fetch = None if self.store is None else partial(fetch_images, self.store, self.record.title)
        parts = self.image_files()
        paths, counts = [self.folder / part.file for part in parts], [part.count for part in parts]
        return StoredImages(paths, counts, self.record.image_format.shape, fetch)

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        return self._open(LABELS)

    def _values(self, name: str) -> NDArray[np.int64]:
        """Return an array's values of these rows; a view where they are consecutive."""
        if isinstance(self.rows, range):
            return _picked(self._open(name), self.rows)
        values = np.empty(len(self), dtype=np.int64)
        for start in range(0, len(self), CHUNK):  # opened each time, since pages of a memory map count as memory
            values[start : start + CHUNK] = self._open(name)[self.rows[start : start + CHUNK]]
        return values

    def _open(self, name: str) -> NDArray[np.int64]:
        """Return an array of the table, whose changes are not written: torch takes no array that is read-only."""
        return np.asarray(np.load(self.folder / name, mmap_mode="c", allow_pickle=False))

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the path of the table, not its pixels, and its rows in few bytes."""
        rows = packed(self.rows, self.record.count)
        return {"folder": self.folder, "store": self.store, "record": self.record, "rows": rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows = state["rows"]
        is_small = isinstance(rows, PackedRows) and state["record"].count < LARGE
        self.__dict__.update(state, rows=rows[:] if is_small else rows)


class StoredHashes:
    """The content hashes of a table's images, of which slices are read."""

    def __init__(self, table: ImageTable) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, places: slice, /) -> NDArray[np.int64]:
        return self._table.subset(places).content_hashes


def _picked(array: NDArray[np.int64], rows: Rows) -> NDArray[np.int64]:
    """Return these rows of an array; a view where they are consecutive."""
    if isinstance(rows, range):
        return array[rows.start : rows.stop] if rows.step == 1 else array[np.array(rows, dtype=np.int64)]
    return array[rows]

"""Images in shards, on disk or in a bucket: WebDataset's tars, parquet files as Hugging Face's `datasets` writes them.

All `*.tar` and `*.parquet` files below a folder are its shards. Nothing is unpacked or downloaded: images are read by
their ranges, and of parquet files a row group at a time.
"""

import hashlib
import os
import time
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from glow_pipeline.buckets import Address, as_typed, is_address
from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.images.classes import natural_key
from glow_pipeline.images.decoding import MAX_BYTES, UnreadableImageError
from glow_pipeline.images.sources.file_digests import RECENT
from glow_pipeline.images.sources.image_files import AllFiles
from glow_pipeline.images.sources.names import Names, printable
from glow_pipeline.images.sources.shard_index import ShardFile, image_columns, read_index
from glow_pipeline.threads import usable_cores

KINDS = (".tar", ".parquet")
CONNECTIONS = 16  # at a time, to object storage: each waits for an answer most of its time
UNLABELLED = "unlabelled"  # class of images without a label where others have one


@dataclass(frozen=True)
class ShardListing:
    """The images of all shards of a folder.

    Attributes:
        folder: as in the selection.
        shards: the files.
        which: shard of each image (n,).
        offsets, sizes: of its content (n,); of parquet files its row and 0.
        names: names of the images.
        labels: places in `class_names` (n,).
        digests: SHA-256 of the images' contents, of those in object storage of their names and sizes; uint8 (n, 32).
    """

    folder: Path
    shards: Sequence[ShardFile]
    which: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    names: Names
    labels: NDArray[np.int64]
    class_names: list[str]
    digests: NDArray[np.uint8]
    passed_over: dict[str, int]

    @cached_property
    def checksum(self) -> str:
        """One checksum of the images; of shards in object storage of these files' names, sizes and times."""
        checksum = hashlib.sha256(b"\0".join(map(os.fsencode, self.class_names)))
        for shard in self.shards:
            stamp = shard.stamp if isinstance(shard.place, Address) else ""  # on disk contents were read
            checksum.update(f"{shard.name}\0{stamp}\0".encode(errors="surrogateescape"))
        for index in range(len(self.names)):
            checksum.update(self.digests[index].tobytes() + self.names.encoded(index) + b"\0")
        checksum.update(self.labels.tobytes())
        return checksum.hexdigest()

    def reader(self, rows: NDArray[np.int64] | None) -> "ShardImages":
        """Return the reader of these rows; None for all."""
        if rows is None:
            return ShardImages(self.shards, self.which, self.offsets, self.sizes, self.names)
        names = Names(self.names[row] for row in rows)
        return ShardImages(self.shards, self.which[rows], self.offsets[rows], self.sizes[rows], names)


class ShardImages:
    """A `source.Reader` of images in tar and parquet files."""

    def __init__(
        self,
        shards: Sequence[ShardFile],
        which: NDArray[np.int32],
        offsets: NDArray[np.int64],
        sizes: NDArray[np.int64],
        names: Names,
    ) -> None:
        self._shards, self._which, self._offsets, self._sizes, self._names = shards, which, offsets, sizes, names
        self.in_bucket = any(isinstance(shard.place, Address) for shard in shards)
        # Process, shard, the file: one at a time, since rows are in order.
        self._opened: tuple[int, int, Any] | None = None

    def __call__(self, index: int) -> bytes:
        try:
            file = self._file(int(self._which[index]))
            return file.image(int(self._offsets[index]), int(self._sizes[index]))
        except OSError as problem:
            shard = self._shards[self._which[index]]
            if isinstance(shard.place, Address):  # no image is at fault where the storage does not answer
                raise GlowPipelineError(
                    f"{shard.place}: the storage refuses or does not answer ({first_line(problem)}); type the same "
                    f"command again"
                ) from None
            raise UnreadableImageError(problem.strerror or first_line(problem)) from None

    def name(self, index: int) -> str:
        return printable(self._names[index])

    def _file(self, which: int) -> "_Tar | _Parquet":
        if self._opened is None or self._opened[:2] != (os.getpid(), which):
            self._opened = None
            shard = self._shards[which]
            opened = (_Parquet if shard.is_parquet else _Tar)(shard)
            self._opened = os.getpid(), which, opened
        return self._opened[2]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class _Tar:
    def __init__(self, shard: ShardFile) -> None:
        self._file = shard.opened()

    def image(self, offset: int, size: int) -> bytes:
        if size > MAX_BYTES:
            raise UnreadableImageError(f"{size:,} bytes; allowed are {MAX_BYTES:,}")
        if hasattr(self._file, "read_at"):
            content = self._file.read_at(size, offset)
        else:
            self._file.seek(offset)
            content = self._file.read(size)
        if len(content) < size:
            raise UnreadableImageError(f"truncated: {len(content):,} of {size:,} bytes")
        return content


class _Parquet:
    def __init__(self, shard: ShardFile) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(shard.opened())
        except pa.ArrowException as damaged:  # since its index was made
            raise UnreadableImageError(f"damaged ({first_line(damaged)[:200]})") from None
        self._columns = image_columns(self._file.schema_arrow, shard.place)
        metadata = self._file.metadata
        self._ends = np.cumsum([metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)])
        self._group = -1
        self._images: Any = None

    def image(self, row: int, _size: int) -> bytes:
        import pyarrow as pa

        group = int(np.searchsorted(self._ends, row, side="right"))
        try:
            if group != self._group:
                self._images = None  # one row group at a time
                self._images = self._file.read_row_group(group, columns=[self._columns.content])[self._columns.column]
                self._group = group
        except pa.ArrowException as damaged:
            raise UnreadableImageError(f"damaged ({first_line(damaged)[:200]})") from None
        first = int(self._ends[group - 1]) if group else 0
        found = self._images[row - first].as_py()
        content = found.get("bytes") if isinstance(found, dict) else found
        if content is None:
            raise UnreadableImageError("no bytes in its row")
        if len(content) > MAX_BYTES:
            raise UnreadableImageError(f"{len(content):,} bytes; allowed are {MAX_BYTES:,}")
        return content


def find_shards(folder: Path, without: Path | None = None) -> tuple[list[ShardFile], dict[str, int]]:
    """List the shards below a folder or address, by name, and count the other files; a single file is a shard.

    Args:
        without: a folder whose shards are left out.

    Raises:
        GlowPipelineError: there is none, or the folder cannot be listed.
    """
    typed = as_typed(folder)
    found: list[ShardFile] = []
    passed_over: dict[str, int] = {}
    if is_address(typed):
        address = Address(typed)
        below = "" if without is None or not without.is_relative_to(folder) else f"{without.relative_to(folder)}/"
        for name, size, mtime_ns in address.listed(recursive=True):
            if below and name.startswith(below):
                continue
            if name.lower().endswith(KINDS):
                found.append(ShardFile(name, address / name, f"{size} {mtime_ns}"))
            else:
                _count(passed_over, name)
        if not found and typed.lower().endswith(KINDS) and address.is_file():
            found = [ShardFile(address.name, address, "")]
    elif folder.is_file() and typed.lower().endswith(KINDS):
        found = [ShardFile(folder.name, folder, _stamp(folder))]
    elif not folder.is_dir():
        raise GlowPipelineError(f"{typed}: no such folder, .tar or .parquet file; give one that has your images")
    else:
        for name in AllFiles().below(folder):
            path = folder / name
            if without is not None and path.resolve().is_relative_to(without.resolve()):
                continue
            if name.lower().endswith(KINDS):
                found.append(ShardFile(name.replace(os.sep, "/"), path, _stamp(path)))
            else:
                _count(passed_over, name)
    if not found:
        raise GlowPipelineError(f"{typed}: there is no .tar or .parquet file in it; of image files, set dataset=folder")
    return sorted(found, key=lambda shard: natural_key(shard.name)), passed_over


def _count(passed_over: dict[str, int], name: str) -> None:
    kind = os.path.splitext(name)[1].lower() or "other"  # noqa: PTH122
    passed_over[kind] = passed_over.get(kind, 0) + 1


def _stamp(path: Path) -> str:
    with suppress(OSError):
        status = path.stat()
        if max(status.st_mtime, status.st_ctime) <= time.time() - RECENT:
            return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
    return ""


def list_shards(
    folder: Path, without: Path | None, listings: Path | None, numbered: Sequence[str] | None = None
) -> ShardListing:
    """List the images of all shards of a folder, with one index a shard, which is made if it is not kept.

    Args:
        without: a folder whose shards are left out.
        listings: folder of the indices.
        numbered: names of classes that come first, in this order.

    Raises:
        GlowPipelineError: there is no image in them.
    """
    shards, passed_over = find_shards(folder, without)
    which, names, digests, labels = array("i"), Names(), [], []
    offsets, sizes = array("q"), array("q")
    read = partial(read_index, listings=listings)
    with ThreadPoolExecutor(CONNECTIONS if is_address(as_typed(folder)) else usable_cores()) as threads:
        indices = threads.map(read, shards)
        for number, index in enumerate(
            tqdm(indices, total=len(shards), desc=f"index {folder.name}", unit="shard", delay=2)
        ):
            which.extend([number] * len(index))
            offsets.extend(index["offset"].to_pylist())
            sizes.extend(index["size"].to_pylist())
            labels.append(index["label"])
            for name in index["name"].to_pylist():
                names.append(os.fsdecode(name))
            digests.append(np.frombuffer(b"".join(index["sha256"].to_pylist()), np.uint8).reshape(-1, 32))
    if not len(names):
        raise GlowPipelineError(f"{as_typed(folder)}: there is no image in its {len(shards)} .tar and .parquet files")
    places, class_names = _classes(labels, numbered)
    return ShardListing(
        folder,
        shards,
        np.array(which, dtype=np.int32),
        np.array(offsets, dtype=np.int64),
        np.array(sizes, dtype=np.int64),
        names,
        places,
        class_names,
        np.concatenate(digests),
        passed_over,
    )


def _classes(labels: list[Any], numbered: Sequence[str] | None) -> tuple[NDArray[np.int64], list[str]]:
    """Return the class of each image, and the classes' names: sorted, numbers as numbers; [""] without labels."""
    import pyarrow as pa
    import pyarrow.compute as pc

    all_labels = pa.chunked_array([chunk for each in labels for chunk in each.chunks], type=pa.string())
    any_label = all_labels.null_count < len(all_labels)
    encoded = pc.fill_null(all_labels, UNLABELLED if any_label else "").combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    own = sorted(found, key=natural_key)
    names = own if numbered is None else [*numbered, *(name for name in own if name not in numbered)]
    position = np.array([names.index(name) for name in found], dtype=np.int64)
    return position[encoded.indices.to_numpy()], names

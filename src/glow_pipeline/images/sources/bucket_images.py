"""A user's own images as single files in object storage, by its listing: nothing is read before an image is decoded.

Files count as images by their suffix alone. Classes are as in `folder_listing`.
"""

import hashlib
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.buckets import Address, as_typed
from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.images.classes import natural_key
from glow_pipeline.images.decoding import FORMATS, MAX_BYTES, UnreadableImageError
from glow_pipeline.images.sources.image_files import is_hidden, list_counts, suffixes
from glow_pipeline.images.sources.names import Names, printable


@dataclass(frozen=True)
class BucketListing:
    """The images below an address.

    Attributes:
        folder: the address, as in the selection.
        names: relative to the address.
        sizes: of each in bytes (n,).
        labels: places in `class_names` (n,).
        stamp: digest of all names, sizes and times.
    """

    folder: Path
    names: Names
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    class_names: list[str]
    passed_over: dict[str, int]
    stamp: str

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """SHA-256 of each file's name and size, uint8 (n, 32): contents are not read."""
        digests = np.empty((len(self.names), 32), dtype=np.uint8)
        for index in range(len(self.names)):
            facts = self.names.encoded(index) + b"\0%d" % self.sizes[index]
            digests[index] = np.frombuffer(hashlib.sha256(facts).digest(), np.uint8)
        return digests

    @property
    def checksum(self) -> str:
        """One checksum of the files' names, sizes and times of upload, and of the classes' names."""
        return hashlib.sha256(f"{self.stamp}\0{self.class_names}".encode(errors="surrogateescape")).hexdigest()

    def reader(self, rows: NDArray[np.int64] | None) -> "BucketImages":
        """Return the reader of these rows; None for all."""
        address = Address(as_typed(self.folder))
        if rows is None:
            return BucketImages(address, self.names, self.sizes)
        return BucketImages(address, Names(self.names[row] for row in rows), self.sizes[rows])


class BucketImages:
    """A `source.Reader` of files in object storage; each is read by one request."""

    in_bucket = True

    def __init__(self, address: Address, names: Names, sizes: NDArray[np.int64]) -> None:
        self._address, self._names, self._sizes = address, names, sizes

    def __call__(self, index: int) -> bytes:
        size = int(self._sizes[index])
        if size > MAX_BYTES:
            raise UnreadableImageError(f"{size:,} bytes; allowed are {MAX_BYTES:,}")
        if not size:
            raise UnreadableImageError("an empty file")
        address = self._address / self._names[index]
        try:
            with address.open() as file:
                content: bytes = file.read_at(size, 0)
        except FileNotFoundError:
            raise UnreadableImageError("deleted since it was listed") from None
        except OSError as problem:
            raise GlowPipelineError(
                f"{address}: cannot be read ({first_line(problem)}); type the same command again"
            ) from None
        if len(content) < size:
            raise UnreadableImageError(f"truncated: {len(content):,} of {size:,} bytes")
        return content

    def name(self, index: int) -> str:
        return printable(self._names[index])


def list_bucket(folder: Path, without: Path | None, numbered: Sequence[str] | None = None) -> BucketListing:
    """List the images below an address, with their classes.

    Args:
        without: an address whose images are left out.
        numbered: names of classes that come first, in this order.

    Raises:
        GlowPipelineError: there is none, or the storage does not answer.
    """
    typed = as_typed(folder)
    below = f"{without.relative_to(folder)}/" if without is not None and without.is_relative_to(folder) else None
    found, stamp = [], hashlib.sha256()
    passed_over: dict[str, int] = {}
    for name, size, mtime_ns in Address(typed).listed(recursive=True):
        if below is not None and name.startswith(below):
            continue
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
        if is_hidden(name) or suffix not in suffixes():
            kind = "hidden" if is_hidden(name) else suffix or "other"
            passed_over[kind] = passed_over.get(kind, 0) + 1
            continue
        found.append((name, size))
        stamp.update(f"{name}\0{size}\0{mtime_ns}\0".encode(errors="surrogateescape"))
    if not found:
        counts = f" (there are {list_counts(passed_over)})" if passed_over else ""
        raise GlowPipelineError(f"{typed}: no image in it{counts}; convert them to one of {', '.join(FORMATS)}")
    flat = any("/" not in name for name, _ in found)
    own = [""] if flat else sorted({name.partition("/")[0] for name, _ in found}, key=natural_key)
    class_names = own if numbered is None else [*numbered, *(name for name in own if name not in numbered)]
    number = {name: class_names.index(name) for name in own}
    labels = array("q", (number["" if flat else name.partition("/")[0]] for name, _ in found))
    sizes = array("q", (size for _, size in found))
    return BucketListing(
        folder,
        Names(name for name, _ in found),
        np.array(sizes, dtype=np.int64),
        np.array(labels, dtype=np.int64),
        class_names,
        passed_over,
        stamp.hexdigest(),
    )

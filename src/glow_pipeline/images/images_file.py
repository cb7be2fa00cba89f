"""An .npy file of images that is written as a stream, and what is known of its images."""

import hashlib
import io
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from glow_pipeline.files import sha256
from glow_pipeline.images.content import content_hash
from glow_pipeline.images.decoding_workers import Prepared
from glow_pipeline.images.file_formats import SIZES_AT_MOST, FileFormats
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat


class ImageCounts(BaseModel):
    """Counts over the images of a table or of a part of one.

    Attributes:
        count: images that were written.
        own_validation: how many of them the source sets apart for validation.
        n_unreadable: files that were left out.
    """

    count: int = 0
    own_validation: int = 0
    n_unreadable: int = 0
    findings: Findings = Findings()
    file_formats: FileFormats = FileFormats()

    def add_all(self, later: "ImageCounts") -> None:
        """Add the counts of the part that follows."""
        self.count += later.count
        self.own_validation += later.own_validation
        self.n_unreadable += later.n_unreadable
        self.findings.add(later.findings)
        self.file_formats.add_all(later.file_formats)


class ImagesFile:
    """The file, open for writing. A context manager.

    Args:
        path: of the file.
        image_format: of the images.
        expected: number of images, if none is unreadable.
        part_of_several: whether its counts are added to those of others, and its SHA-256 is wanted.

    Attributes:
        unreadable: name -> reason, of files that were left out.
        sha256: of the file, once it is closed; "" unless `part_of_several`.
    """

    def __init__(self, path: Path, image_format: ImageFormat, expected: int, *, part_of_several: bool = False) -> None:
        self._path, self._format, self._expected = path, image_format, expected
        self._several = part_of_several
        self._rows: list[NDArray[np.int64]] = []
        self._hashes: list[NDArray[np.int64]] = []
        self._counts = ImageCounts()
        self.unreadable: dict[str, str] = {}
        self.sha256 = ""

    def __enter__(self) -> Self:
        # Written as a stream: pages of a memory map that are written to would count as this process's memory.
        self._file = self._path.open("wb")
        header = images_header(self._expected, self._format)
        self._file.write(header)
        self._digest = hashlib.sha256(header)
        return self

    def add(self, chunk: Prepared) -> None:
        """Write the images of a chunk."""
        pixels = chunk.images.contiguous().numpy().data
        self._file.write(pixels)
        if self._several:
            self._digest.update(pixels)
        self._rows.append(chunk.rows)
        self._hashes.append(content_hash(chunk.images).numpy())
        self.unreadable.update(chunk.unreadable)
        self._counts.findings.add(chunk.findings or Findings())
        for file_format in chunk.formats:
            self._counts.file_formats.add(file_format, self._expected if self._several else SIZES_AT_MOST)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._file as file:
            if error is not None:
                return
            self._counts.count = sum(map(len, self._rows))
            self._counts.n_unreadable = len(self.unreadable)
            if self._counts.count != self._expected:
                file.seek(0)
                file.write(images_header(self._counts.count, self._format))
        if self._several:
            complete = self._counts.count == self._expected
            self.sha256 = self._digest.hexdigest() if complete else sha256(self._path)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the images that were written (n,), in order."""
        return _joined(self._rows)

    @property
    def hashes(self) -> NDArray[np.int64]:
        """`content_hash` of each image (n,)."""
        return _joined(self._hashes)

    def counts(self, first_own: int) -> ImageCounts:
        """Return the counts.

        Args:
            first_own: rows from here on are the source's own validation images.
        """
        return self._counts.model_copy(update={"own_validation": int((self.rows >= first_own).sum())})


def images_header(count: int, image_format: ImageFormat) -> bytes:
    """Return the .npy header, whose length does not depend on the count: numpy leaves room for that to grow."""
    header = io.BytesIO()
    shape = (count, *image_format.shape)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.array([], dtype=np.int64)

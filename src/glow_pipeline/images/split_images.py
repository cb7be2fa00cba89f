"""The images of a source's split that a table takes: of the chosen classes, read and prepared in chunks."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.classes import chosen_rows
from glow_pipeline.images.decoding import MAX_PIXELS
from glow_pipeline.images.decoding_workers import Prepared, decode_parts
from glow_pipeline.images.file_formats import ARRAY, FileFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.rows import Rows, between
from glow_pipeline.images.sources.source import ArraySplit, EncodedSplit
from glow_pipeline.images.table import TableOrigin

PREPARED_BYTES = 2**24  # of images prepared at once, however large they become


class SplitImages:
    """An opened split, by the rows that a table takes of it.

    Args:
        split: as the source opened it.
        origin: says which classes are chosen and how images are prepared.
        num_workers: decoding processes for encoded images; None: one for each core.
        max_pixels: larger images are unreadable.
    """

    def __init__(
        self,
        split: ArraySplit | EncodedSplit,
        origin: TableOrigin,
        num_workers: int | None = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.split = split
        self.origin = origin
        self._num_workers = num_workers
        self._max_pixels = max_pixels

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of all images of the split (N,)."""
        return self.split.labels

    @property
    def first_own(self) -> int:
        """The row from which on images are the source's own for validation."""
        return len(self.labels) - self.split.own_validation

    @property
    def class_names(self) -> list[str]:
        """Names of the classes by number; empty where the source has none."""
        return list(self.split.class_names or ()) if isinstance(self.split, EncodedSplit) else []

    @cached_property
    def rows(self) -> Rows:
        """Rows of the chosen classes (n,), in order.

        Raises:
            GlowPipelineError: the split is empty, a chosen class does not exist, or no image is of the chosen classes.
        """
        title, choice, names = self.origin.title, self.origin.image_selection.classes, self.class_names
        if not len(self.labels):
            raise GlowPipelineError(f"{title}: there is no image in its files; fetch them again")
        try:
            rows = chosen_rows(self.labels, choice, names)
        except GlowPipelineError as error:
            raise GlowPipelineError(f"{title}: {error}") from None
        if not len(rows):
            classes = ", ".join(names[k] if names else str(k) for k in np.unique(self.labels)[:30])
            raise GlowPipelineError(
                f"{title}: no image is of class {', '.join(map(str, choice or ()))}; its images are of {classes}"
            )
        return rows

    def alone(self) -> "SplitImages":
        """Return the same images, decoded by this process alone."""
        return SplitImages(self.split, self.origin, 0, self._max_pixels)

    def names(self, rows: NDArray[np.int64]) -> list[str] | None:
        """Return the file names of these rows; None where images are not files."""
        return [self.split.reader.name(int(row)) for row in rows] if isinstance(self.split, EncodedSplit) else None

    def prepared(self, rows: Rows) -> Iterator[Prepared]:
        """Read and prepare these rows, which are in order, chunk by chunk.

        Raises:
            GlowPipelineError: the source has not as many images as labels, or a decoding process died.
        """
        for _, chunk in self.prepared_parts([rows]):
            yield chunk

    def prepared_parts(self, parts: Sequence[Rows]) -> Iterator[tuple[int, Prepared]]:
        """Read and prepare the rows of several parts, which are in order, in one pass.

        Yields:
            The position of a part, and a chunk of its images.

        Raises:
            GlowPipelineError: as `prepared`; before the end, so that the last part is not complete before.
        """
        if isinstance(self.split, EncodedSplit):
            yield from decode_parts(
                self.split.reader, parts, self.origin.image_format, self._num_workers, self._max_pixels
            )
        else:
            yield from self._from_arrays(self.split, parts)

    def _from_arrays(self, split: ArraySplit, parts: Sequence[Rows]) -> Iterator[tuple[int, Prepared]]:
        image_format = self.origin.image_format
        start, at_once = 0, max(1, PREPARED_BYTES // int(np.prod(image_format.shape)))
        for images in split.read():
            stop = start + len(images)
            for position, rows in enumerate(parts):
                here = between(rows, start, stop)
                for first in range(0, len(here), at_once):
                    some = here[first : first + at_once]
                    formats = [_format_in_array(images)] * len(some)
                    yield position, Prepared(some, prepare(images[some - start], image_format), {}, formats=formats)
            start = stop
        if start != len(split.labels):
            raise GlowPipelineError(
                f"{self.origin.title}: {len(split.labels)} labels but {start} images; fetch its files again"
            )

    def with_progress(self, verb: str) -> Iterator[Prepared]:
        """Prepare all chosen rows under a progress bar."""
        with tqdm(total=len(self.rows), desc=f"{verb} {self.origin.title}", unit="img", delay=2) as bar:
            for chunk in self.prepared(self.rows):
                yield chunk
                bar.update(len(chunk.rows) + len(chunk.unreadable))


def _format_in_array(images: Tensor) -> FileFormat:
    """Return the format of each of the images, uint8 (n, C, H, W)."""
    _, channels, height, width = images.shape
    return FileFormat(ARRAY, width, height, "grey" if channels == 1 else "colour")

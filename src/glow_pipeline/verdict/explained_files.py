"""Files of the table of verdicts, decoded again and explained, as a stream."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from glow_pipeline.images.content import content_hash
from glow_pipeline.images.decoding_workers import decode_and_prepare
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.sources.archives import FilesOnDisk
from glow_pipeline.images.sources.names import Names, printable
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.judge import Judge
from glow_pipeline.verdict.scored_files import path_of
from glow_pipeline.verdict.shown import ShownImage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileExplainer:
    """Explains files of a table of verdicts, in memory that does not grow with their number.

    Attributes:
        judge: of the verdicts; None: images are shown without explanations.
        scored: the table.
        image_format: in which the files were prepared.
        batch_size: images that are explained at once.
        num_workers: processes that decode; None: one for each core.
        max_pixels: larger images are unreadable.
        threads: number on a CPU; None: a measurement chooses it.
        scored_contents: content hash of each file's prepared image when it was scored, by its name in the table; a file
            with another content now is left out, and one without a hash is not compared.
    """

    judge: Judge | None
    scored: pd.DataFrame
    image_format: ImageFormat
    batch_size: int
    num_workers: int | None
    max_pixels: int
    threads: int | None = None
    scored_contents: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_readable(self) -> int:
        """The number of files that have a score; they come first in the table."""
        return int(self.scored[columns.UNREADABLE].isna().sum())

    def explained(self, n: int) -> Iterator[ShownImage]:
        """Yield the n first files of the table, as far as they are still those that were scored, in their order."""
        n = min(n, self.n_readable)
        with nullcontext() if self.judge is None else self.judge.threads(self.batch_size, n, self.threads):
            yield from self._explained(self.scored[columns.FILE].iloc[:n])

    def _explained(self, files: Iterable[str]) -> Iterator[ShownImage]:
        names = Names(str(path_of(file)) for file in files)
        rows: list[int] = []
        images: list[NDArray[np.uint8]] = []
        for chunk in decode_and_prepare(
            FilesOnDisk(Path("/"), names), np.arange(len(names)), self.image_format, self.num_workers, self.max_pixels
        ):
            for name, reason in chunk.unreadable.items():
                logger.warning("%s: is not shown, it cannot be read any more (%s)", name, reason)
            contents = content_hash(chunk.images).tolist()
            for row, image, content in zip(chunk.rows.tolist(), chunk.images.numpy(), contents, strict=True):
                file = str(self.scored[columns.FILE].iloc[row])
                if self.scored_contents.get(file, content) == content:
                    rows.append(row)
                    images.append(image)
                else:
                    logger.warning("%s: is not shown, it has changed since it was scored", printable(file))
            while len(rows) >= self.batch_size:
                yield from self._batch(rows[: self.batch_size], images[: self.batch_size])
                rows, images = rows[self.batch_size :], images[self.batch_size :]
        if rows:
            yield from self._batch(rows, images)

    def _batch(self, rows: list[int], images: list[NDArray[np.uint8]]) -> Iterator[ShownImage]:
        explanations = (
            [None] * len(rows) if self.judge is None else self.judge.explained(torch.from_numpy(np.stack(images)))
        )
        for row, image, explanation in zip(rows, images, explanations, strict=True):
            yield ShownImage(row, image, explanation)

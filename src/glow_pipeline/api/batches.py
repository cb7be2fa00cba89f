"""Batches of the images that a person gives, prepared for a model."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.batches import Batch
from glow_pipeline.images.decoding import MAX_PIXELS
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.transfer import to_device
from glow_pipeline.verdict.grey_range import with_grey_range
from glow_pipeline.verdict.image_inputs import Given, ImagesInMemory, log_findings, log_reshaped, prepared_images

NAMED = 3  # unreadable files in a warning

Rows = NDArray[np.int64]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GivenBatches:
    """Given images in batches, once, in their order; how they were prepared is logged.

    Attributes:
        given: the images.
        image_format: of the model.
        device: where the batches are.
        skip_unreadable: leave out files that cannot be read, with a warning; False: they are an error.
        rows: the positions of the images of each batch that was read, (B,); whoever takes a batch takes them out.
    """

    given: Given
    image_format: ImageFormat
    device: torch.device
    skip_unreadable: bool
    rows: list[Rows] = field(default_factory=list)

    def __iter__(self) -> Iterator[Batch]:
        """Read the images.

        Raises:
            GlowPipelineError: an image in memory cannot be used, or a file cannot be read and is not to be skipped.
        """
        given, image_format = self.given, self.image_format
        if isinstance(given, ImagesInMemory):
            log_reshaped(given, image_format)
        else:
            image_format, doubts = with_grey_range(image_format, given, MAX_PIXELS, 0)
            for doubt in doubts:
                logger.warning("%s", doubt)
        found = Findings()
        unreadable: list[str] = []
        with tqdm(total=len(given), desc="images", unit="img", delay=2, leave=False) as bar:
            for chunk in prepared_images(given, image_format):
                found.add(chunk.findings or Findings())
                unreadable += [self._named(int(row), reason) for row, reason in chunk.unreadable.items()]
                if unreadable and not self.skip_unreadable:
                    raise GlowPipelineError(f"images: {unreadable[0]}; leave it out")
                if len(chunk.rows):
                    self.rows.append(chunk.rows)
                    labels = torch.zeros(len(chunk.rows), dtype=torch.int64, device=self.device)  # used by no score
                    yield Batch(to_device(chunk.images, self.device), labels)
                bar.update(len(chunk.rows) + len(chunk.unreadable))
        log_findings(found, image_format)
        if unreadable:
            more = f" and {len(unreadable) - NAMED:,} more" if len(unreadable) > NAMED else ""
            logger.warning("Files without a value: %s%s", ", ".join(unreadable[:NAMED]), more)

    def _named(self, row: int, reason: str) -> str:
        name = self.given.shown[row] if isinstance(self.given, ImagesInMemory) else self.given.reader.name(row)
        return f"{name} ({reason})"

"""Facts of all scored files together."""

from typing import NamedTuple

from glow_pipeline.images.format import ImageFormat


class ScoreFacts(NamedTuple):
    """The preparation of the files, with notes and warnings about it.

    Attributes:
        image_format: in which all were prepared: the model's, with a range of grey values for deep images.
        notes: how files were read, without a full stop: `3 images with transparent pixels, shown on white`.
        warnings: one sentence each.
    """

    image_format: ImageFormat
    notes: list[str]
    warnings: list[str]

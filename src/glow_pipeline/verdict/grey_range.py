"""The range of grey values of listed images of more than 8 bits, where the model has none."""

import numpy as np

from glow_pipeline.images.format import ImageFormat, format_range
from glow_pipeline.images.grey_range import MixedValuesError, range_of_files
from glow_pipeline.verdict.listing import ListedFiles


def with_grey_range(
    image_format: ImageFormat, listed: ListedFiles, max_pixels: int, num_workers: int | None
) -> tuple[ImageFormat, list[str]]:
    """Return the format with one range for all images of more than 8 bits, if it has none, and a warning of that.

    Where no range fits all, there is none, and these images are unreadable.

    Args:
        image_format: of the model.
        listed: the files.
        max_pixels, num_workers: as for decoding.
    """
    if image_format.range is not None:
        return image_format, []
    try:
        found = range_of_files(listed.reader, np.arange(len(listed)), listed.folder, max_pixels, num_workers)
    except MixedValuesError as problem:
        return image_format, [f"Images of more than 8 bits have no verdict: {problem}."]
    if found is None:
        return image_format, []
    return image_format.model_copy(update={"range": found}), [
        f"There are images of more than 8 bits, and the model was trained on none: of their grey values "
        f"{format_range(found)} become 0 to 255, by the values in this list alone; set ingest.range to the scale of "
        f"the images that the model was trained on."
    ]

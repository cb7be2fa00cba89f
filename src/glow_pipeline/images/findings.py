"""Findings in image files that a user has to know, and that cannot be seen in the images."""

from collections.abc import Iterator

from pydantic import BaseModel

from glow_pipeline.images.format import ImageFormat, format_range

CLIPPED_AT_MOST = 0.001  # of the values of deep images
USED_AT_LEAST = 0.25  # of the range


class Findings(BaseModel):
    """Counts over decoded image files.

    Attributes:
        transparent: images with a pixel that is not opaque.
        paged: files with further pages or frames after the first.
        further_pages: number of those.
        deep: images of more than 8 bits.
        deep_values: their values: pixels times channels.
        clipped: values of theirs that are outside the range.
        lowest, highest: least and greatest of their values; None without deep images.
    """

    transparent: int = 0
    paged: int = 0
    further_pages: int = 0
    deep: int = 0
    deep_values: int = 0
    clipped: int = 0
    lowest: float | None = None
    highest: float | None = None

    def add(self, other: "Findings") -> None:
        """Add the findings in other files."""
        for name in ("transparent", "paged", "further_pages", "deep", "deep_values", "clipped"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.lowest = min((value for value in (self.lowest, other.lowest) if value is not None), default=None)
        self.highest = max((value for value in (self.highest, other.highest) if value is not None), default=None)

    def notes(self, image_format: ImageFormat) -> Iterator[str]:
        """Yield lines on how images were reinterpreted."""
        if self.transparent:
            background = f"shown on {image_format.background} (ingest.background)"
            yield f"{_images(self.transparent)} with transparent pixels, {background}"
        if self.paged:
            count = f"{self.paged:,} file{'s have' if self.paged > 1 else ' has'}"
            yield f"{count} further pages or frames, {self.further_pages:,} in all, which are not used"

    def warnings(self, image_format: ImageFormat) -> Iterator[str]:
        """Yield warnings of probable errors: clipped grey values, or a range that is mostly unused."""
        if image_format.range is None or self.lowest is None or self.highest is None:
            return
        low, high = image_format.range
        values = f"{_images(self.deep)} of more than 8 bits have the values {self.lowest:g} to {self.highest:g}"
        advice = "see ingest.range, which holds from training on"
        if self.clipped > CLIPPED_AT_MOST * self.deep_values:
            share = self.clipped / self.deep_values
            outside = f"outside the range {format_range(image_format.range)}"
            yield f"{values}; {share:.1%} are {outside} and were clipped; {advice}"
        used = (min(high, self.highest) - max(low, self.lowest)) / (high - low)
        if used < USED_AT_LEAST:
            yield (
                f"{values}, which use {max(0, used):.0%} of the range {format_range(image_format.range)}: "
                f"few grey levels are left of them; {advice}"
            )


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"

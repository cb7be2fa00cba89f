"""What the images of a table, or of a model, look like."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Fit = Literal["resize", "pad"]


class ImageSpec(BaseModel):
    """Shape, grey levels and way of fitting, by which images from any source become comparable.

    A model keeps the spec of the images it was trained on, and whatever it is shown later is prepared by it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int
    height: int
    width: int
    n_bits: int
    fit: Fit

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        return self.channels, self.height, self.width

    @property
    def key(self) -> str:
        """A folder name that no other spec has: `1x32x32_8bit_resize`."""
        return f"{self.channels}x{self.height}x{self.width}_{self.n_bits}bit_{self.fit}"

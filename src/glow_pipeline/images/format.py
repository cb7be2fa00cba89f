"""The format of the images of a table, or of a model."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Fit = Literal["resize", "pad"]
Background = Literal["white", "black"]
GreyRange = tuple[float, float]


class ImageFormat(BaseModel):
    """Shape, grey levels and way of fitting, which make images of all sources comparable.

    A model keeps the format of its training images, and all later images are prepared in it.

    Attributes:
        range: the values that become 0 and 255, of images deeper than 8 bits; None: there were none.
        background: the colour under transparent pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int
    height: int
    width: int
    n_bits: int
    fit: Fit
    range: GreyRange | None = None
    background: Background = "white"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        return self.channels, self.height, self.width

    @property
    def size_and_bits(self) -> str:
        """The format in the title of a figure: `1x32x32, 8 bits`."""
        return size_and_bits(self.shape, self.n_bits)

    @property
    def key(self) -> str:
        """Folder name that no other format has: `1x32x32_8bit_resize`, `1x32x32_8bit_resize_range0-4095`."""
        deep = "" if self.range is None else f"_range{format_range(self.range)}"
        background = "" if self.background == "white" else f"_on_{self.background}"
        return f"{self.channels}x{self.height}x{self.width}_{self.n_bits}bit_{self.fit}{deep}{background}"


def size_and_bits(shape: tuple[int, int, int], n_bits: int) -> str:
    """Return the shape (C, H, W) and grey levels of images for a title: `1x32x32, 8 bits`."""
    channels, height, width = shape
    return f"{channels}x{height}x{width}, {n_bits} {'bit' if n_bits == 1 else 'bits'}"


def size_and_bits_of(key: str) -> str:
    """Return the same of an `ImageFormat.key`, which metrics hold: `1x32x32_8bit_resize` -> `1x32x32, 8 bits`."""
    shape, bits, *_ = key.split("_")
    channels, height, width = map(int, shape.split("x"))
    return size_and_bits((channels, height, width), int(bits.removesuffix("bit")))


def format_range(grey_range: GreyRange) -> str:
    """Return a range as typed: `0-4095`, `-1024-3071`."""
    return "-".join(format_number(end) for end in grey_range)


def format_number(number: float) -> str:
    """Return a number in its shortest form: `4095`, `0.5`."""
    return str(int(number)) if number == int(number) else repr(number)

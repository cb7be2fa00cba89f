"""The pixels of an opened image file as they are stored, also with more than 8 bits and with transparency."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION, TiffImageFile

GREY_MODES = frozenset({"1", "L", "LA", "La"})
# Pillow keeps only the high bytes of colours of 16 bits. Read a second time with swapped bytes it keeps the low ones.
# (16-bit inks, CMYK;16, are left at 8 bits: print has no narrower range.)
LOW_BYTES = {
    ";16B": ";16L",
    ";16L": ";16B",
    ";16N": ";16B" if sys.byteorder == "little" else ";16L",
}
DEEP_COLOURS = ("RGB;16", "RGBX;16", "RGBA;16", "RGBa;16")
DEEP_GREY_AND_ALPHA = "LA;16B"
# Kinds in which programs leave an unused alpha channel at 0; viewers ignore it then.
UNUSED_ALPHA = ("BMP", "TIFF")


class UnreadableImageError(Exception):
    """An image cannot be used; the message is the reason in a few words."""


class Pixels(NamedTuple):
    """An image as stored in its file, upright."""

    values: NDArray[Any]  # (h, w, 1 or 3): uint8, or another type of a deep image
    alpha: NDArray[Any] | None = None  # (h, w, 1), uint8 or uint16: 0 is transparent, the type's maximum opaque
    bits: int | None = None  # of a deep image whose values cannot fill their type
    inverted: bool = False  # the lowest value of a deep image is white

    @property
    def deep(self) -> bool:
        """True if its values have more than 8 bits."""
        return self.values.dtype != np.uint8


def is_deep(image: Image.Image) -> bool:
    """Return whether an image has more than 8 bits a channel, without reading its pixels."""
    rawmode = _rawmode(image)
    return image.mode == "F" or image.mode.startswith("I") or rawmode.startswith((*DEEP_COLOURS, DEEP_GREY_AND_ALPHA))


def read_pixels(image: ImageFile, again: Callable[[], ImageFile]) -> Pixels:
    """Read an opened image's pixels.

    Args:
        image: is changed.
        again: opens the same file once more.

    Raises:
        UnreadableImageError: it cannot be read with all its bits, or has values that are not numbers.
    """
    rawmode = _rawmode(image)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(PLANAR_CONFIGURATION) == 2 and _bits(image) > 8:
        raise UnreadableImageError("16-bit colours in a plane each, which Pillow does not read")
    if image.format == "PPM" and image.mode == "RGB" and _highest(image) > 255:
        raise UnreadableImageError("16-bit colours in PPM, of which Pillow keeps 8; convert it to PNG or TIFF")
    if rawmode == DEEP_GREY_AND_ALPHA:
        # Four bytes a pixel, of which Pillow would keep two.
        pixels = _wide(_upright(image, "RGBA"))
        return Pixels(pixels[:, :, :1], _unless_opaque(pixels[:, :, 1:]))
    if rawmode.startswith(DEEP_COLOURS):
        return _deep_colours(image, again, rawmode)
    if is_deep(image):
        return _deep_grey(image)
    return _shallow(image, rawmode)


def _shallow(image: Image.Image, rawmode: str) -> Pixels:
    """Read the pixels of an image of 8 bits or fewer; the raw mode is that of its file."""
    transparent = image.info.get("transparency")
    upright = _upright(image)
    if not upright.has_transparency_data:
        return Pixels(_array(upright, "L" if upright.mode in GREY_MODES else "RGB"))
    if isinstance(transparent, int | tuple) and upright.mode in ("1", "L", "RGB"):
        values = _array(upright, "RGB" if upright.mode == "RGB" else "L")
        return Pixels(values, _all_but(values, _as_stored(transparent, rawmode)))
    both = _array(upright, "LA" if upright.mode in GREY_MODES else "RGBA")
    colours, alpha = both[:, :, :-1], both[:, :, -1:]
    return Pixels(colours, None if image.format in UNUSED_ALPHA and not alpha.any() else _unless_opaque(alpha))


def pixels_in_memory(image: Image.Image) -> Pixels:
    """Read the pixels of Pillow's image as `read_pixels` does, and leave the image as it is.

    Raises:
        UnreadableImageError: Pillow reads 8 of its bits alone, or it has values that are not numbers.
    """
    if isinstance(image, ImageFile) and _rawmode(image).startswith((*DEEP_COLOURS, DEEP_GREY_AND_ALPHA)):
        raise UnreadableImageError("colours of 16 bits, of which Pillow keeps 8 in memory; give the file's path")
    rawmode, kind, copy = _rawmode(image), image.format, image.copy()
    copy.format = kind  # which decides whether an alpha channel may be unused
    return _deep_grey(copy) if is_deep(copy) else _shallow(copy, rawmode)


def _rawmode(image: Image.Image) -> str:
    """Return Pillow's raw mode of the stored pixels; empty once they are in memory."""
    tile = image.tile if isinstance(image, ImageFile) else []
    arguments = tile[0].args if tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _bits(image: TiffImageFile) -> int:
    return max(image.tag_v2.get(BITSPERSAMPLE, (1,)))


def _highest(image: Image.Image) -> int:
    """Return the highest value that a PPM or PGM states, from which Pillow rescales; 0 for other kinds."""
    tile = image.tile if isinstance(image, ImageFile) else []
    arguments = tile[0].args if tile and tile[0].codec_name.startswith("ppm") else ()
    return int(arguments[1]) if isinstance(arguments, tuple) and len(arguments) == 2 else 0


def _upright(image: Image.Image, rawmode: str | None = None) -> Image.Image:
    """Read the image, in the raw mode if one is given instead of its own, and turn it by its EXIF."""
    if rawmode is not None and isinstance(image, ImageFile):
        image.tile = [
            tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
            for tile in image.tile
        ]
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _array(image: Image.Image, mode: str) -> NDArray[np.uint8]:
    """Return (h, w, channels) in the mode; `convert` would copy an image that has it already."""
    array = np.array(image if image.mode == mode else image.convert(mode))
    return array if array.ndim == 3 else array[:, :, None]


def _wide(image: Image.Image) -> NDArray[np.uint16]:
    """Return (h, w, 2) from four bytes a pixel, the high ones first."""
    return np.ascontiguousarray(image).view(">u2").astype(np.uint16)


def _deep_colours(image: ImageFile, again: Callable[[], ImageFile], rawmode: str) -> Pixels:
    premultiplied = rawmode.startswith("RGBa")
    stored = rawmode.replace("RGBa", "RGBA")
    end = stored[-4:]
    high = np.asarray(_upright(image, stored)).astype(np.uint16)
    with again() as second:
        values = high << 8 | np.asarray(_upright(second, stored.replace(end, LOW_BYTES[end])))
    transparent = image.info.get("transparency")
    if values.shape[2] == 3:
        return Pixels(values, None if transparent is None else _all_but(values, transparent))
    colours, alpha = values[:, :, :3], values[:, :, 3:]
    if premultiplied:
        share = np.maximum(alpha, 1).astype(np.float64) / 65535
        colours = np.minimum(np.rint(colours / share), 65535).astype(np.uint16)
    return Pixels(colours, _unless_opaque(alpha))


def _deep_grey(image: Image.Image) -> Pixels:
    unsigned, tags, stated = _rawmode(image) == "I;32N", getattr(image, "tag_v2", {}), _highest(image)
    transparent = image.info.get("transparency")
    values = np.asarray(_upright(image))[:, :, None]
    values = values.astype(values.dtype.newbyteorder("="))
    if unsigned:
        values = values.view(np.uint32)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UnreadableImageError("pixels that are infinite or not a number")
    if stated:  # Pillow has stretched them to 65535
        values = np.rint(values * (stated / 65535)).astype(np.uint16)
    bits = _bits(image) if isinstance(image, TiffImageFile) else 16
    inverted = tags.get(PHOTOMETRIC_INTERPRETATION) == 0
    alpha = _all_but(values, transparent) if isinstance(transparent, int) else None
    return Pixels(values, alpha, bits if bits < 16 else None, inverted)


def _as_stored(transparent: object, rawmode: str) -> object:
    """Return the transparent grey level of a PNG; Pillow scales pixels of 2 and 4 bits to 8, but not this level."""
    scale = {"L;2": 85, "L;4": 17}.get(rawmode, 1)
    return transparent * scale if isinstance(transparent, int) else transparent


def _all_but(values: NDArray[Any], transparent: Any) -> NDArray[np.uint8] | None:
    """Return the alpha of an image in which one colour is transparent."""
    return _unless_opaque(np.where((values == transparent).all(axis=2, keepdims=True), 0, 255).astype(np.uint8))


def _unless_opaque(alpha: NDArray[Any]) -> NDArray[Any] | None:
    return None if (alpha == np.iinfo(alpha.dtype).max).all() else alpha

"""From the bytes of an image file to pixels."""

import io
import logging
import struct
import warnings
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

# Pillow's own bound against decompression bombs, at which it only warns: 89 million pixels.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
MAX_BYTES = 2**29
GREY_MODES = frozenset({"1", "L", "LA", "La"})
# Whatever a file is called, Pillow would try its many other kinds too, and hand PostScript to Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# What Pillow and its decoders were seen to raise on damaged files; tests/images/test_damaged_images.py damages some.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
# It logs what it finds in damaged files, without saying in which; the exception says that too.
logging.getLogger("PIL").setLevel(logging.CRITICAL)


class UnreadableImageError(Exception):
    """An image that cannot be used; the message says why in a few words."""


def decode(encoded: bytes) -> Tensor:
    """An image file -> uint8 (C, h, w), with C = 1 for grey images and 3 for all others.

    As a viewer shows it: turned as its EXIF says, a palette or CMYK as RGB, transparency left out, of an animation
    the first picture. 16-bit grey is brought to 8 bits by its high byte.

    Raises:
        UnreadableImageError: damaged, empty, of a kind that has no fixed range (floating point), or enormous.
    """
    if not encoded:
        raise UnreadableImageError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise UnreadableImageError(f"{opened.width}x{opened.height} pixels; allowed are {MAX_PIXELS:,}")
                ImageOps.exif_transpose(opened, in_place=True)
                pixels = _pixels(opened)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(f"more than {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image, or of an unknown kind") from None
    except DAMAGED as problem:
        raise UnreadableImageError(f"damaged ({' '.join(str(problem).split())[:100]})") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """uint8 (h, w, 1 or 3)"""
    if image.mode == "F":
        raise UnreadableImageError("floating-point pixels, whose range is not known")
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        if deep.size and (deep.min() < 0 or deep.max() > 65535):
            raise UnreadableImageError("32-bit pixels, whose range is not known")
        return (deep.astype(np.uint16) >> 8).astype(np.uint8)[:, :, None]
    if image.mode in GREY_MODES:
        return np.array(_as(image, "L"))[:, :, None]
    return np.array(_as(image, "RGB"))


def _as(image: Image.Image, mode: str) -> Image.Image:
    """`convert` would copy an image that is of that mode already."""
    return image if image.mode == mode else image.convert(mode)

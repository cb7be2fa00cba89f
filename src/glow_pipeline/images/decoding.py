"""Decoding of image files to 8-bit pixels."""

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import BinaryIO, NamedTuple

import torch
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from torch import Tensor

from glow_pipeline.images.file_formats import ARRAY, FileFormat
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import Background, GreyRange, ImageFormat
from glow_pipeline.images.pixels import Pixels, UnreadableImageError, pixels_in_memory, read_pixels
from glow_pipeline.images.rendering import render

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "DecodedFile",
    "StoredPicture",
    "UnreadableImageError",
    "decode",
    "decode_file",
    "decode_picture",
    "decode_pixels",
    "opened",
]

# Pillow's own limit against decompression bombs, at which it only warns: 89 million pixels.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
MAX_BYTES = 2**29
# Without this list Pillow would try all its kinds, whatever a file's name is, and pass PostScript to Ghostscript. A
# JPEG of several pictures (MPO, of some cameras and telephones) is found by the JPEG plugin. AVIF and JPEG 2000 are
# read where Pillow was built with them, as its wheels are.
FORMATS = (
    *("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"),
    *(("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()),  # since Pillow 11.3
)
# Exceptions that Pillow and its decoders raised on damaged files; tests/images/test_damaged_images.py damages some.
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
# Pillow logs damage without the file's name; the exception has both.
logging.getLogger("PIL").setLevel(logging.CRITICAL)


class DecodedFile(NamedTuple):
    """An image file's picture as a viewer shows it, and the format that it is stored in."""

    image: Tensor  # uint8 (C, h, w), C = 1 or 3
    file_format: FileFormat


class StoredPicture(NamedTuple):
    """An image file's first picture as it is stored."""

    pixels: Pixels
    kind: str  # of the file, by its content: `PNG`
    further_pages: int  # number of pictures after it


def decode(
    encoded: bytes,
    *,
    grey_range: GreyRange | None = None,
    background: Background = "white",
    max_pixels: int = MAX_PIXELS,
    findings: Findings | None = None,
) -> Tensor:
    """Decode an image file to uint8 (C, h, w), with C = 1 for grey images and 3 for all others.

    The image is as a viewer shows it: turned by its EXIF, a palette or CMYK as RGB, transparent pixels on the
    background, the first frame or page. Of images deeper than 8 bits `grey_range` becomes 0 to 255.

    Args:
        grey_range: the values that become 0 and 255, of images deeper than 8 bits.
        background: the colour under transparent pixels.
        max_pixels: larger images are not decoded.
        findings: counts to which this file is added.

    Raises:
        UnreadableImageError: damaged, empty, too large, or deeper than 8 bits while there is no range.
    """
    return decode_file(
        encoded, grey_range=grey_range, background=background, max_pixels=max_pixels, findings=findings
    ).image


def decode_file(
    encoded: bytes,
    *,
    grey_range: GreyRange | None = None,
    background: Background = "white",
    max_pixels: int = MAX_PIXELS,
    findings: Findings | None = None,
) -> DecodedFile:
    """Decode an image file as `decode`, and return the file's format too."""
    pixels, kind, further_pages = decode_pixels(encoded, max_pixels)
    findings = Findings() if findings is None else findings
    rendered = render(pixels, grey_range, background, findings)
    if further_pages:
        findings.paged += 1
        findings.further_pages += further_pages
    height, width, channels = pixels.values.shape
    file_format = FileFormat(kind, width, height, "grey" if channels == 1 else "colour")
    return DecodedFile(torch.from_numpy(rendered).permute(2, 0, 1), file_format)


def decode_picture(picture: Image.Image, image_format: ImageFormat, findings: Findings | None = None) -> DecodedFile:
    """Return Pillow's image as `decode_file` returns that of a file; the image stays as it is.

    Args:
        picture: in memory, or opened and not yet read.
        image_format: has the range of grey values and the background.
        findings: counts to which this image is added.

    Raises:
        UnreadableImageError: damaged, empty, or deeper than 8 bits while there is no range.
    """
    try:
        pixels = pixels_in_memory(picture)
    except DAMAGED as problem:
        raise UnreadableImageError(f"damaged ({' '.join(str(problem).split())[:100]})") from None
    if not pixels.values.size:
        raise UnreadableImageError("no pixels")
    if pixels.deep and image_format.range is None:
        raise UnreadableImageError(
            f"more than 8 bits (mode {picture.mode}), and the model was trained on none; convert it to 8 bits"
        )
    rendered = render(pixels, image_format.range, image_format.background, Findings() if findings is None else findings)
    height, width, channels = pixels.values.shape
    kind = "JPEG" if picture.format == "MPO" else picture.format or ARRAY
    file_format = FileFormat(kind, width, height, "grey" if channels == 1 else "colour")
    return DecodedFile(torch.from_numpy(rendered).permute(2, 0, 1), file_format)


def decode_pixels(encoded: bytes, max_pixels: int = MAX_PIXELS) -> StoredPicture:
    """Decode an image file's first picture without a change of its values.

    Raises:
        UnreadableImageError: damaged, empty or too large.
    """
    if not encoded:
        raise UnreadableImageError("empty file")
    with opened(io.BytesIO(encoded), max_pixels) as image:
        pixels = read_pixels(image, lambda: Image.open(io.BytesIO(encoded), formats=FORMATS))
        if not pixels.values.size:
            raise UnreadableImageError("no pixels")
        kind = "JPEG" if image.format == "MPO" else image.format or "unknown"
        return StoredPicture(pixels, kind, _further_pages(image))


@contextmanager
def opened(file: BinaryIO, max_pixels: int = MAX_PIXELS) -> Iterator[ImageFile]:
    """Open an image for a block in which it may be decoded; only its header is read before.

    Raises:
        UnreadableImageError: not an image, damaged or too large, also within the block.
    """
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(f"more than {max_pixels:,} pixels (ingest.max_pixels)") from None
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image, or of an unknown kind") from None
    except DAMAGED as problem:
        raise UnreadableImageError(f"damaged ({' '.join(str(problem).split())[:100]})") from None
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _further_pages(image: ImageFile) -> int:
    """Return the number of pictures after the first; 0 where the rest of the file is damaged.

    Call it after the first picture was read: Pillow seeks the others, and cannot go back from a damaged one.
    """
    try:
        return int(getattr(image, "n_frames", 1)) - 1
    except DAMAGED:
        return 0

"""From the bytes of an image file to pixels, in as many processes as there are cores.

Decoding is the long part of an ingest. Each process also brings its images to the wanted size and colour, so
that only small arrays travel back.
"""

import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.source import Reader
from glow_pipeline.images.spec import ImageSpec

# Pillow's own bound against decompression bombs, at which it only warns: 89 million pixels.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
MAX_BYTES = 2**29
# What a process works on at a time: enough to make the trip worth it, little enough for small shared memory.
CHUNK_IMAGES = 64
CHUNK_BYTES = 2**21
# Below this the start of a process costs more than it brings.
WORTH_A_PROCESS = 256
GREY_MODES = frozenset({"1", "L", "LA", "La"})
# Whatever a file is called, Pillow would try its many other kinds too, and hand PostScript to Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# What Pillow and its decoders were seen to raise on damaged files; tests/images/test_decoding.py damages some.
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


class Prepared(NamedTuple):
    """Some images, as a table wants them, and those that could not be read."""

    rows: NDArray[np.int64]  # (n,) positions in the split, without the unreadable ones
    images: Tensor  # uint8 (n, C, H, W)
    unreadable: dict[str, str]  # name -> reason


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


class _Decoder:
    """What a decoding process does; a dataset in PyTorch's sense, whose items are chunks of rows."""

    def __init__(self, reader: Reader, spec: ImageSpec) -> None:
        self.reader = reader
        self.spec = spec

    def __getitem__(self, rows: NDArray[np.int64]) -> Prepared:
        images, kept, unreadable = [], [], {}
        for row in rows:
            try:
                images.append(prepare(decode(self.reader(int(row)))[None], self.spec))
                kept.append(row)
            except UnreadableImageError as problem:
                unreadable[self.reader.name(int(row))] = str(problem)
        stacked = torch.cat(images) if images else torch.empty(0, *self.spec.shape, dtype=torch.uint8)
        return Prepared(np.array(kept, dtype=np.int64), stacked, unreadable)


def decode_and_prepare(
    reader: Reader, rows: NDArray[np.int64], spec: ImageSpec, num_workers: int | None
) -> Iterator[Prepared]:
    """Decode these rows in order, in several processes, and bring them to the spec.

    Args:
        num_workers: processes; 0 decodes in this one, None takes one for each core.

    Raises:
        GlowPipelineError: a process died, as it does when memory runs out.
    """
    size = min(CHUNK_IMAGES, max(1, CHUNK_BYTES // int(np.prod(spec.shape))))
    if num_workers is None:
        num_workers = usable_cores()
    loader: DataLoader[Prepared] = DataLoader(
        _Decoder(reader, spec),  # type: ignore[arg-type]  # it has __getitem__, all that is asked of it
        batch_size=None,
        sampler=[rows[i : i + size] for i in range(0, len(rows), size)],
        num_workers=num_workers if len(rows) >= WORTH_A_PROCESS else 0,
        collate_fn=_as_it_is,  # type: ignore[arg-type]  # there is no list of items to collate
    )
    try:
        yield from loader
    except RuntimeError as problem:
        if not str(problem).startswith("DataLoader worker"):
            raise
        raise GlowPipelineError(
            f"ingest.num_workers={num_workers}: a decoding process died ({str(problem).splitlines()[0]}); "
            f"if memory ran out, lower it"
        ) from problem


def usable_cores() -> int:
    """Cores that this process may use, which in a container or a batch job are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _as_it_is(prepared: Prepared) -> Prepared:
    return prepared

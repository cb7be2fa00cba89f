"""Image files for tests of decoding."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from glow_pipeline.images.decoding import decode

Pixels = NDArray[np.uint8]

SIZE = (11, 13)  # (h, w)


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image | NDArray[Any], kind: str, **options: object) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def smooth(*channels: int) -> Pixels:
    """A picture that JPEG hardly changes."""
    rows, columns = np.mgrid[0:48, 0:64]
    planes = [(rows * 2 + columns * (1 + k)) % 256 // 2 + 40 for k in range(*channels)] if channels else [rows * 4]
    return np.stack(planes, axis=-1).astype(np.uint8).squeeze()


def decoded(content: bytes, **options: Any) -> NDArray[np.int64]:
    """(C, h, w), wide enough for differences."""
    image = decode(content, **options)
    assert image.dtype == torch.uint8
    return image.numpy().astype(np.int64)


def chunk_of(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(width: int, height: int, depth: int, colour_type: int, data: bytes, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk_of(b"IHDR", header)
        + b"".join(chunks)
        + chunk_of(b"IDAT", data)
        + chunk_of(b"IEND", b"")
    )


def deep_png(values: NDArray[np.uint16], *chunks: bytes) -> bytes:
    """A PNG of 16 bits, (h, w, 1 to 4), as RFC 2083 has it; Pillow writes only grey ones."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png_of(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], zlib.compress(rows), *chunks)


def deep_noise(*shape: int, seed: int = 0, below: int = 65536) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, below, shape).astype(np.uint16)


def in_range(values: NDArray[Any], low: float, high: float) -> NDArray[np.int64]:
    """(h, w, C) -> (C, h, w): low becomes 0, high 255."""
    scaled = np.rint((values.astype(np.float64) - low) / (high - low) * 255)
    return np.clip(scaled, 0, 255).astype(np.int64).transpose(2, 0, 1)


def on(level: int, colours: NDArray[Any], opacity: NDArray[Any]) -> NDArray[np.int64]:
    """(h, w, C) and opacity (h, w) from 0 to 255 -> (C, h, w), shown on a background of this grey level."""
    share = opacity[:, :, None].astype(np.float64) / 255
    return np.rint(colours * share + level * (1 - share)).astype(np.int64).transpose(2, 0, 1)

"""Image files for tests of decoding."""

import io
import struct
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from glow_pipeline.images.decoding import decode

Pixels = NDArray[np.uint8]

SIZE = (11, 13)  # (h, w)


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image | Pixels, kind: str, **options: object) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def smooth(*channels: int) -> Pixels:
    """A picture that JPEG hardly changes."""
    rows, columns = np.mgrid[0:48, 0:64]
    planes = [(rows * 2 + columns * (1 + k)) % 256 // 2 + 40 for k in range(*channels)] if channels else [rows * 4]
    return np.stack(planes, axis=-1).astype(np.uint8).squeeze()


def decoded(content: bytes) -> NDArray[np.int64]:
    """(C, h, w), wide enough for differences."""
    image = decode(content)
    assert image.dtype == torch.uint8
    return image.numpy().astype(np.int64)


def chunk_of(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(width: int, height: int, depth: int, colour_type: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk_of(b"IHDR", header) + chunk_of(b"IDAT", data) + chunk_of(b"IEND", b"")
    )  # fmt: skip

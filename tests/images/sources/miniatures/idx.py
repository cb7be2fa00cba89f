"""MNIST and Fashion-MNIST: gzipped IDX files."""

import gzip
import struct
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.images.sources.source import Split
from tests.images.sources.contract import Expected, Miniature

PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
COUNTS: dict[Split, int] = {"train": 7, "test": 4}


def idx_file(array: NDArray[np.uint8]) -> bytes:
    """Return the IDX format of yann.lecun.com/exdb/mnist, gzipped: type 8 is unsigned byte."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


def paths(folder: str, split: Split) -> list[str]:
    kinds = ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz")
    return [f"{folder}/raw/{PREFIX[split]}-{kind}" for kind in kinds]


@cache
def miniature(source: str, folder: str) -> Miniature:
    random = np.random.default_rng(len(folder))
    files: dict[str, bytes] = {}
    expected: dict[Split, Expected] = {}
    for split, count in COUNTS.items():
        pixels = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count, dtype=np.uint8) + 3) % 10
        files |= dict(zip(paths(folder, split), (idx_file(pixels), idx_file(labels)), strict=True))
        expected[split] = Expected(list(pixels[:, :, :, None]), labels.tolist())
    needed = {split: paths(folder, split) for split in COUNTS}
    return Miniature(source, files, needed, expected, chunk=("glow_pipeline.images.sources.idx.CHUNK", 3))


MINIATURES = {
    "mnist": partial(miniature, "mnist", "MNIST"),
    "fashionmnist": partial(miniature, "fashionmnist", "FashionMNIST"),
}

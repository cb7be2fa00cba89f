"""MNIST and Fashion-MNIST: IDX files, gzipped, as http://yann.lecun.com/exdb/mnist describes them.

The gzipped files are read as a stream, after their md5 was compared.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.remote import Published, RemoteFile
from glow_pipeline.images.sources.source import ArraySplit, Source, Split

CHUNK = 4096

MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
FASHIONMNIST_FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


def _remote(md5s: dict[str, str], *mirrors: str) -> list[RemoteFile]:
    return [RemoteFile(name, md5, tuple(f"{mirror}{name}" for mirror in mirrors)) for name, md5 in md5s.items()]


def _needed(remote: list[RemoteFile], split: Split) -> list[RemoteFile]:
    """Return the images and the labels of a split."""
    prefix = "train" if split == "train" else "t10k"
    return [file for file in remote if file.name.startswith(prefix)]


def _open(files: Sequence[Path], _split: Split) -> ArraySplit:
    images, labels = files
    with _opened(labels) as stream:
        (n,) = _shape(stream)
        classes = np.frombuffer(stream.read(n), np.uint8).astype(np.int64)
    return ArraySplit(classes, partial(_read, images))


def _read(path: Path) -> Iterator[Tensor]:
    with _opened(path) as stream:
        n, height, width = _shape(stream)
        for start in range(0, n, CHUNK):
            size = min(CHUNK, n - start)
            pixels = np.frombuffer(stream.read(size * height * width), np.uint8)
            yield torch.from_numpy(pixels.reshape(size, 1, height, width).copy())


@contextmanager
def _opened(path: Path) -> Iterator[gzip.GzipFile]:
    """Open the unzipped file for a block that reads it.

    Raises:
        GlowPipelineError: the file is incomplete or damaged.
    """
    try:
        with gzip.open(path) as stream:
            yield stream
    except (EOFError, IndexError, ValueError, gzip.BadGzipFile, zlib.error) as damaged:
        raise GlowPipelineError(f"{path}: not a complete IDX file ({damaged}); fetch it again") from None


def _shape(stream: gzip.GzipFile) -> tuple[int, ...]:
    """Read the header of an IDX file: two zeros, the type, the number of dimensions, each as big-endian int32."""
    dimensions = stream.read(4)[3]
    return tuple(int(size) for size in np.frombuffer(stream.read(4 * dimensions), ">i4"))


def _source(name: str, title: str, folder: str, remote: list[RemoteFile], licence: str, mirrors: bool) -> Source:
    published = Published(f"{folder}/raw", partial(_needed, remote))
    return Source(
        name=name,
        title=title,
        channels=1,
        n_bits=8,
        size=(28, 28),
        default_size=(32, 32),
        num_classes=10,
        licence=licence,
        counts=(60_000, 0, 10_000),
        files=published.files,
        open=_open,
        paths=published.paths,
        mirrors=mirrors,
    )


MNIST = _source(
    "mnist",
    "handwritten digits",
    "MNIST",
    _remote(MNIST_FILES, "https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    "CC BY-SA 3.0, as commonly stated",
    mirrors=False,
)
FASHIONMNIST = _source(
    "fashionmnist",
    "clothes",
    "FashionMNIST",
    _remote(FASHIONMNIST_FILES, "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
    "MIT",
    mirrors=True,
)

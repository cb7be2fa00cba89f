"""CIFAR-10 and CIFAR-100: the binary version of https://www.cs.toronto.edu/~kriz/cifar.html

torchvision reads the Python version of the same images, which is pickled; no pickle is loaded here.
Each record is one label byte (CIFAR-100: the coarse and the fine label), then 3072 bytes: red, green, blue, by rows.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.remote import Published, RemoteFile
from glow_pipeline.images.sources.source import ArraySplit, Source, Split

PIXELS = 3 * 32 * 32
CHUNK = 2500  # records


@dataclass(frozen=True)
class _Layout:
    archive: RemoteFile
    members: dict[Split, list[str]]
    label_bytes: int  # the last of them is the label


def _remote(name: str, md5: str) -> RemoteFile:
    return RemoteFile(name, md5, (f"https://www.cs.toronto.edu/~kriz/{name}",))


CIFAR10_LAYOUT = _Layout(
    _remote("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    {
        "train": [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)],
        "test": ["cifar-10-batches-bin/test_batch.bin"],
    },
    label_bytes=1,
)
CIFAR100_LAYOUT = _Layout(
    _remote("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
    {"train": ["cifar-100-binary/train.bin"], "test": ["cifar-100-binary/test.bin"]},
    label_bytes=2,
)


def _open(layout: _Layout, files: Sequence[Path], split: Split) -> ArraySplit:
    # astype copies: a view would keep the pixels in memory.
    labels = [records[:, layout.label_bytes - 1].astype(np.int64) for records in _records(layout, files[0], split)]
    return ArraySplit(np.concatenate(labels), partial(_read, layout, files[0], split))


def _read(layout: _Layout, archive: Path, split: Split) -> Iterator[Tensor]:
    for records in _records(layout, archive, split):
        yield torch.from_numpy(records[:, layout.label_bytes :].reshape(-1, 3, 32, 32).copy())


def _records(layout: _Layout, path: Path, split: Split) -> Iterator[NDArray[np.uint8]]:
    """Yield records uint8 (some, labels + pixels), the members in their official order."""
    record = layout.label_bytes + PIXELS
    try:
        with tarfile.open(path, "r:gz") as archive:
            for name in layout.members[split]:
                member = archive.extractfile(name)
                if member is None:
                    raise KeyError(name)
                while block := member.read(CHUNK * record):
                    yield np.frombuffer(block, np.uint8).reshape(-1, record)
    except (tarfile.TarError, gzip.BadGzipFile, KeyError, ValueError, EOFError, zlib.error) as damaged:
        raise GlowPipelineError(f"{path}: not a complete CIFAR archive ({damaged}); fetch it again") from None


def _source(name: str, title: str, layout: _Layout, num_classes: int) -> Source:
    published = Published("cifar", lambda _split: [layout.archive])
    return Source(
        name=name,
        title=title,
        channels=3,
        n_bits=8,
        size=(32, 32),
        default_size=(32, 32),
        num_classes=num_classes,
        licence="none stated; cite Krizhevsky 2009",
        counts=(50_000, 0, 10_000),
        files=published.files,
        open=partial(_open, layout),
        paths=published.paths,
    )


CIFAR10 = _source("cifar10", "animals and vehicles", CIFAR10_LAYOUT, 10)
CIFAR100 = _source("cifar100", "things of 100 kinds", CIFAR100_LAYOUT, 100)

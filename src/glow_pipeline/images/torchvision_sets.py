"""Sets that torchvision knows how to fetch and verify: its addresses and md5s, our reading.

The archives themselves are read, as a stream, after their md5 was checked. torchvision's own
unpacked copies are not: one that a kill left half-written would look finished.
"""

import gzip
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import numpy as np
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.source import Chunk, Source, Split

if TYPE_CHECKING:
    from torchvision.datasets import MNIST as TorchvisionMNIST  # noqa: N811

CHUNK = 4096


def _idx_files(name_in_torchvision: str, raw: Path, split: Split) -> list[Path]:
    """The images and the labels of a split as .gz files with the right md5."""
    from torchvision import datasets  # here, because it takes seconds and most runs read tables only
    from torchvision.datasets.utils import check_integrity

    dataset: type[TorchvisionMNIST] = getattr(datasets, name_in_torchvision)
    folder = raw / dataset.__name__ / "raw"
    prefix = "train" if split == "train" else "t10k"
    wanted = [(name, md5) for name, md5 in dataset.resources if name.startswith(prefix)]
    for name, md5 in wanted:
        if not check_integrity(str(folder / name), md5):
            _download(dataset, folder, name, md5)
    return [folder / name for name, _ in wanted]


def _download(dataset: "type[TorchvisionMNIST]", folder: Path, name: str, md5: str) -> None:
    from torchvision.datasets.utils import download_url

    problems = []
    for mirror in dataset.mirrors:
        try:
            download_url(f"{mirror}{name}", root=str(folder), filename=name, md5=md5)
            return
        except (URLError, RuntimeError, OSError) as problem:
            problems.append(str(problem))
    raise GlowPipelineError(
        f"{folder / name}: not there with md5 {md5}, and no mirror gave it ({problems[-1]}); "
        f"put the four .gz files of {dataset.__name__} into {folder}, or connect to the network"
    )


def _idx_count(files: list[Path], _split: Split) -> int:
    with gzip.open(files[0]) as stream:
        return _idx_shape(stream)[0]


def _read_idx(files: list[Path], _split: Split) -> Iterator[Chunk]:
    with gzip.open(files[0]) as images, gzip.open(files[1]) as labels:
        n, height, width = _idx_shape(images)
        _idx_shape(labels)
        for start in range(0, n, CHUNK):
            size = min(CHUNK, n - start)
            pixels = np.frombuffer(images.read(size * height * width), np.uint8)
            classes = np.frombuffer(labels.read(size), np.uint8)
            yield Chunk(
                torch.from_numpy(pixels.reshape(size, 1, height, width).copy()),
                torch.from_numpy(classes.astype(np.int64)),
            )


def _idx_shape(stream: gzip.GzipFile) -> tuple[int, ...]:
    """Read the header of an IDX file: two zeros, the type, the number of dimensions, each as big-endian int32."""
    dimensions = stream.read(4)[3]
    return tuple(int(size) for size in np.frombuffer(stream.read(4 * dimensions), ">i4"))


def _idx_source(name: str, name_in_torchvision: str, licence: str) -> Source:
    return Source(
        name=name,
        channels=1,
        size=(28, 28),
        default_size=(32, 32),
        n_bits=8,
        num_classes=10,
        licence=licence,
        files=partial(_idx_files, name_in_torchvision),
        count=_idx_count,
        read=_read_idx,
    )


MNIST = _idx_source("mnist", "MNIST", "CC BY-SA 3.0, as commonly stated")
FASHIONMNIST = _idx_source("fashionmnist", "FashionMNIST", "MIT")

"""What the pipeline has to know of a set of images before it reads one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Split = Literal["train", "test"]


class Chunk(NamedTuple):
    """Some images of a source, in order."""

    images: Tensor  # uint8 (n, C, H, W), 8 bits whatever the source's n_bits
    labels: Tensor  # int64 (n,)

    @classmethod
    def cut(cls, images: Tensor, labels: Tensor, size: int = 4096) -> Iterator["Chunk"]:
        """Arrays that are in memory anyway, in chunks of `size`."""
        for start in range(0, len(images), size):
            stop = start + size
            yield cls(images[start:stop], labels[start:stop].to(torch.int64))


@dataclass(frozen=True)
class Source:
    """One set of images.

    Attributes:
        name: what a user types after `dataset=`.
        channels, size, n_bits: as the images come: 1 or 3, (H, W), grey levels as a power of two.
        default_size: (H, W) that the pipeline gives them unless `ingest.size` says otherwise.
        num_classes: labels are 0 ... num_classes - 1.
        licence: of the images.
        files: (raw data folder, split) -> the files with that split, fetched and verified if they are not there.
        count: number of images in a split.
        read: (those files, split) -> the images in the source's order.
    """

    name: str
    channels: int
    size: tuple[int, int]
    default_size: tuple[int, int]
    n_bits: int
    num_classes: int
    licence: str
    files: Callable[[Path, Split], list[Path]]
    count: Callable[[list[Path], Split], int]
    read: Callable[[list[Path], Split], Iterator[Chunk]]

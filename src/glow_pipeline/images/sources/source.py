"""The interface of a source: facts that are known before an image is read, its files, and how they are opened."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Split = Literal["train", "test"]


class SourceFile(NamedTuple):
    """A file, or a folder, that a split is made from, with the checksum of its content."""

    path: Path
    sha256: str


class Reader(Protocol):
    """Encoded images by position. It is sent to other processes, so it must pickle, and open files late."""

    def __call__(self, index: int) -> bytes:
        """Return the content of an image's file.

        Raises:
            UnreadableImageError: the file cannot be read.
        """
        ...

    def name(self, index: int) -> str:
        """Return the image's file name, printable."""
        ...


@dataclass(frozen=True)
class ArraySplit:
    """A split whose images are stored in arrays, all of one size.

    Attributes:
        labels: int64 (n,).
        read: yields the images in the order of the labels, in pieces uint8 (some, C, H, W), of 8 bits whatever the
            source's n_bits is. Pieces are small: a split may be larger than memory.
        own_validation: number of images at the end that are the source's own validation split.
    """

    labels: NDArray[np.int64]
    read: Callable[[], Iterator[Tensor]]
    own_validation: int = 0


@dataclass(frozen=True)
class EncodedSplit:
    """A split whose images are files, on disk or in an archive; otherwise like `ArraySplit`.

    Attributes:
        class_names: names of the classes where the source does not know them before; labels are their positions.
    """

    labels: NDArray[np.int64]
    reader: Reader
    own_validation: int = 0
    class_names: Sequence[str] | None = None


@dataclass(frozen=True)
class Source:
    """A set of images.

    Attributes:
        name: what a user types after `dataset=`.
        title: content of the images, in a few words.
        channels, n_bits: of the images as published: 1 or 3, grey levels as a power of two.
        size: (H, W) as published; None where images differ in size.
        default_size: (H, W) of prepared images unless `ingest.size` sets another.
        num_classes: labels are 0 ... num_classes - 1. Of a folder it is known once the folder was listed.
        licence: licence of the images.
        counts: published numbers of images for training, for the source's own validation split, and for testing.
        files: (raw data folder, split) -> the split's files, fetched if need be, with their verified checksums.
        open: (paths of those files, split) -> labels, and a way to read the images; decodes none yet.
        paths: (raw data folder, split) -> paths at which those files are expected; none where that folder has no
            part in it.
        passed_over: split -> files that `files` found to be no images, by suffix or kind -> how many.
        manual: how to get the files when they cannot be downloaded; empty where they can.
        mirrors: whether a mirrored image could be one of the set; not so for digits and text.
    """

    name: str
    title: str
    channels: int
    n_bits: int
    size: tuple[int, int] | None
    default_size: tuple[int, int]
    num_classes: int
    licence: str
    counts: tuple[int, int, int]
    files: Callable[[Path, Split], list[SourceFile]]
    open: Callable[[Sequence[Path], Split], ArraySplit | EncodedSplit]
    paths: Callable[[Path, Split], list[Path]] = lambda _raw, _split: []
    passed_over: Callable[[Split], Mapping[str, int]] = lambda _split: {}
    manual: str = ""
    mirrors: bool = True

    def on_disk(self, raw: Path, splits: Sequence[Split] = ("train", "test")) -> tuple[list[Path], list[Path]]:
        """Return the files of these splits that exist, without a look at their content, and those that do not."""
        paths = list(dict.fromkeys(path for split in splits for path in self.paths(raw, split)))
        return [path for path in paths if path.is_file()], [path for path in paths if not path.is_file()]

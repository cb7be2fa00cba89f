"""What the pipeline has to know of a set of images before it reads one, and how it reads them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Split = Literal["train", "test"]


class SourceFile(NamedTuple):
    """A file, or a whole folder, that a split is made from, and what it holds."""

    path: Path
    sha256: str


class Reader(Protocol):
    """Encoded images by position. It is handed to other processes, so it must pickle, and open files late."""

    def __call__(self, index: int) -> bytes:
        """The whole encoded file of an image.

        Raises:
            UnreadableImageError: the image's file cannot be had.
        """
        ...

    def name(self, index: int) -> str:
        """What a person would call the image: its file's name."""
        ...


@dataclass(frozen=True)
class ArraySplit:
    """A split whose images lie in arrays, all of one size.

    Attributes:
        labels: int64 (n,).
        read: the images in the order of the labels, in pieces uint8 (some, C, H, W), 8 bits whatever the source's
            n_bits is. Pieces are small: a split may be larger than memory.
        own_validation: how many images at the end are the source's own validation split.
    """

    labels: NDArray[np.int64]
    read: Callable[[], Iterator[Tensor]]
    own_validation: int = 0


@dataclass(frozen=True)
class EncodedSplit:
    """A split whose images are files of their own, on disk or in an archive; as `ArraySplit` otherwise.

    Attributes:
        class_names: where the source does not know them before; labels are their positions.
    """

    labels: NDArray[np.int64]
    reader: Reader
    own_validation: int = 0
    class_names: Sequence[str] | None = None


@dataclass(frozen=True)
class Source:
    """One set of images.

    Attributes:
        name: what a user types after `dataset=`.
        title: what it shows, in a few words.
        channels, n_bits: as the images come: 1 or 3, grey levels as a power of two.
        size: (H, W) as they come; None where each image has its own.
        default_size: (H, W) that the pipeline gives them unless `ingest.size` says otherwise.
        num_classes: labels are 0 ... num_classes - 1. Of a folder it is known when the folder has been looked at.
        licence: of the images.
        counts: published number of images for training, for the source's own validation split, and for testing.
        files: (raw data folder, split) -> the split's files, fetched if need be, with their verified checksums.
        open: (those files, split) -> labels, and a way to read the images; decodes none yet.
        lies_at: (raw data folder, split) -> where those files are looked for, if they are looked for there.
        passed_over: split -> files that were found to be no images by `files`, by suffix or kind -> how many.
        manual: how to get the files when they cannot be downloaded; empty where they can.
        mirrors: whether a mirror image could be one of the set; not so for digits and text.
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
    lies_at: Callable[[Path, Split], list[Path]] = lambda _raw, _split: []
    passed_over: Callable[[Split], Mapping[str, int]] = lambda _split: {}
    manual: str = ""
    mirrors: bool = True

    def on_disk(self, raw: Path, splits: Sequence[Split] = ("train", "test")) -> tuple[list[Path], list[Path]]:
        """Files of these splits that exist, whatever they hold, and files that do not."""
        paths = list(dict.fromkeys(path for split in splits for path in self.lies_at(raw, split)))
        return [path for path in paths if path.is_file()], [path for path in paths if not path.is_file()]

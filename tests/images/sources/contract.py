"""The contract of a source: what every source does with its publisher's files, shown on a miniature of them.

`miniatures/` has one file a source, `test_contract.py` the checks.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.images.sources.source import ArraySplit, EncodedSplit, Source, Split

SPLITS: tuple[Split, ...] = ("train", "test")
Pixels = NDArray[np.uint8]


class Expected(NamedTuple):
    """Content of a split, in order.

    Attributes:
        images: (h, w, 1 or 3) each.
        names: of the images' files; None where images are stored in arrays.
        own_validation: number of images at the end that are the publisher's validation split.
    """

    images: Sequence[Pixels]
    labels: Sequence[int]
    names: Sequence[str] | None = None
    own_validation: int = 0


@dataclass(frozen=True)
class Miniature:
    """A small set in its publisher's format.

    Attributes:
        source: name of the source.
        files: path below the raw data folder -> content; empty for a source that needs none there.
        needed: split -> those of the files that it needs, in order.
        expected: split -> its content.
        made: files that the source makes of them, by path.
        lists: files of text, whose first half is as valid as the complete file.
        chunk: a constant of the source's module that bounds pieces, and a value for pieces of a few images.
        selection: raw data folder -> the images; None for all of the source.
    """

    source: str
    files: dict[str, bytes]
    needed: Mapping[Split, Sequence[str]]
    expected: Mapping[Split, Expected]
    made: Sequence[str] = ()
    lists: frozenset[str] = field(default=frozenset())
    chunk: tuple[str, int] | None = None
    selection: Callable[[Path], ImageSelection] | None = None

    def select(self, raw: Path, classes: Sequence[int | str] | None = None) -> ImageSelection:
        """Return the selection of all images, or of some classes."""
        everything = ImageSelection.of(self.source) if self.selection is None else self.selection(raw)
        return everything if classes is None else everything.model_copy(update={"classes": tuple(classes)})

    def source_in(self, raw: Path) -> Source:
        return source_of(self.select(raw))


def opened(source: Source, raw: Path, split: Split) -> ArraySplit | EncodedSplit:
    """Find the files of a split, and open it."""
    return source.open([file.path for file in source.files(raw, split)], split)


def images_of(split: ArraySplit | EncodedSplit) -> list[Pixels]:
    """Read all images (h, w, 1 or 3)."""
    if isinstance(split, EncodedSplit):
        return [decoded(split.reader(index)) for index in range(len(split.labels))]
    return [image.permute(1, 2, 0).numpy() for piece in split.read() for image in piece]


def decoded(content: bytes) -> Pixels:
    """Decode an image file with Pillow (h, w, 1 or 3)."""
    return np.atleast_3d(np.array(Image.open(io.BytesIO(content))))


def files_below(folder: Path) -> set[str]:
    """Return the files below a folder but locks, by their relative paths."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def error_of(action: Callable[[], object]) -> str:
    """Return the error's message, after checking that it is one line."""
    with pytest.raises(GlowPipelineError) as raised:
        action()
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    return message

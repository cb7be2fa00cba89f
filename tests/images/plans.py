"""Plans of tables, from images in memory and from folders of pictures."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole
from glow_pipeline.images.decoding import UnreadableImageError
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import EncodedSplit
from glow_pipeline.images.table import OnUnreadable, TableOrigin
from glow_pipeline.images.table_writer import TableWriter, plan_table

IMAGE_FORMAT = ImageFormat(channels=1, height=4, width=6, n_bits=3, fit="resize")


def one_line(plan: TableWriter, folder: Path) -> str:
    """Return the error of a table that cannot be written, after checking that nothing of the table is left."""
    with pytest.raises(GlowPipelineError) as raised, written_whole(folder) as temporary:
        plan.write(temporary)
    assert str(raised.value).isprintable()
    assert not folder.exists()
    assert [file for file in folder.parent.iterdir() if file.name.startswith(".")] == []
    return str(raised.value)


def one_split(images: ImageSelection, on_unreadable: OnUnreadable = "stop", num_workers: int = 0) -> TableWriter:
    """Plan the test table of a folder, without the unreadable files of its training images."""
    plan = plan_table(images, "test", IMAGE_FORMAT, Path("raw"), on_unreadable, num_workers)
    return replace(plan, other_split=None)


def png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def pixels(index: int) -> NDArray[np.uint8]:
    """Return an image, grey or coloured, of a size that depends on the index."""
    channels = (3,) if index % 2 else ()
    shape = (3 + index % 5, 2 + index % 7, *channels)
    return np.random.default_rng(index).integers(0, 256, shape, dtype=np.uint8)


def as_prepared(rows: list[int], image_format: ImageFormat = IMAGE_FORMAT) -> Tensor:
    images = [torch.from_numpy(np.atleast_3d(pixels(row))).permute(2, 0, 1)[None] for row in rows]
    return torch.cat([prepare(image, image_format) for image in images])


def picture_folder(folder: Path, count: int, unreadable: tuple[int, ...] = ()) -> ImageSelection:
    """Write pictures of two classes; the first has one more image if the number is odd."""
    half = (count + 1) // 2
    for index in range(count):
        file = folder / ("a" if index < half else "b") / f"{index:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no picture" if index in unreadable else png(pixels(index)))
    return ImageSelection.of_folder(str(folder), str(folder), 10.0, 0)


class Calls(list[int]):
    """Requested images."""


@dataclass
class Levels:
    """Image i has the level 32 * (i % 8); those outside `readable` cannot be read."""

    readable: range
    calls: Calls

    def __call__(self, index: int) -> bytes:
        self.calls.append(index)
        if index not in self.readable:
            raise UnreadableImageError("gone")
        return png(np.full((2, 2), 32 * (index % 8), dtype=np.uint8))

    def name(self, index: int) -> str:
        return f"n{index}"


class InMemory(NamedTuple):
    plan: TableWriter
    calls: Calls


def in_memory(
    count: int, readable: range, on_unreadable: OnUnreadable, own_validation: int = 0, n_classes: int = 5
) -> InMemory:
    """Return a plan of images in memory; labels are 0, 1, ..., n_classes - 1, 0, ..."""
    origin = TableOrigin(
        image_selection=ImageSelection.of("levels"),
        split="train",
        image_format=ImageFormat(channels=1, height=2, width=2, n_bits=8, fit="resize"),
        source_files={},
        on_unreadable=on_unreadable,
        made_with={},
    )
    calls = Calls()
    labels = np.arange(count) % n_classes
    return InMemory(
        TableWriter(origin, n_classes, lambda: EncodedSplit(labels, Levels(readable, calls), own_validation)), calls
    )

"""The range of grey values of images deeper than 8 bits, where the user sets none.

One range holds for a model's training images and for all later images: otherwise the same object would be darker in
one set than in another. It is decided once, before images are decoded.
"""

import hashlib
import logging
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from torch.utils.data import Dataset
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.classes import chosen_rows
from glow_pipeline.images.decoding import MAX_PIXELS, UnreadableImageError, decode_pixels, opened
from glow_pipeline.images.decoding_workers import map_in_processes
from glow_pipeline.images.format import GreyRange, format_number
from glow_pipeline.images.pixels import is_deep
from glow_pipeline.images.rows import Rows
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.archives import FilesOnDisk
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.images.sources.source import EncodedSplit, Split

SAMPLE = 500  # files whose pixels are read
HEAD = 32  # first bytes, by which most files of 8 bits are recognised
AT_ONCE = 16

logger = logging.getLogger(__name__)


class MixedValuesError(GlowPipelineError):
    """Some deep images have whole numbers as pixels and some have fractions, for which there is no common range."""


class DeepValues(NamedTuple):
    """Statistics of the pixels of some deep images.

    Attributes:
        lowest, highest: least and greatest of all values.
        images: number of images.
        floating: number of images with floating-point pixels.
        bits: the most that a file states; 0 if one of them states none.
    """

    lowest: float
    highest: float
    images: int
    floating: int
    bits: int

    @property
    def range(self) -> GreyRange:
        """Most likely range of such values.

        Whole numbers without a sign: 0 to the smallest 2**k - 1 that is not exceeded, k at least 8 and at least the
        stated bits. Fractions within 0 to 1: 0 to 1. Others: from the lowest to the highest.
        """
        if not self.floating and self.lowest >= 0:
            return 0, 2 ** max(8, self.bits, int(self.highest).bit_length()) - 1
        if self.lowest >= 0 and self.highest <= 1:
            return 0, 1
        return self.lowest, self.highest if self.highest > self.lowest else self.lowest + 1


def decide_range(
    image_selection: ImageSelection,
    split: Split,
    max_pixels: int = MAX_PIXELS,
    num_workers: int | None = 0,
    looks: FolderLooks | None = None,
) -> GreyRange | None:
    """Decide the range for a folder by its files, and log it in a line; return None without images deeper than 8 bits.

    Args:
        image_selection, split: the images; of the chosen classes.
        max_pixels, num_workers: as for decoding.
        looks: as for `plan_table`.

    Raises:
        MixedValuesError: whole and floating-point numbers are mixed.
    """
    folder = image_selection.path if split == "train" else image_selection.eval_path or image_selection.path
    if folder is None:  # published sets have 8 bits
        return None
    looks = looks or FolderLooks()
    source = source_of(image_selection, looks)
    key = _key(image_selection, split, max_pixels, source.files(folder, split)[0].sha256)
    with suppress(ValidationError):  # there is no note, or a damaged one
        return _reported(folder, _Found.model_validate_json(looks.kept.noted(key)))
    opened_split = source.open([folder], split)
    if not isinstance(opened_split, EncodedSplit) or not isinstance(opened_split.reader, FilesOnDisk):
        return None
    rows = chosen_rows(opened_split.labels, image_selection.classes, opened_split.class_names or [])
    found, unreadable = _find(opened_split.reader, rows, folder, max_pixels, num_workers)
    if not unreadable:  # which may be read the next time
        looks.kept.note(key, found.model_dump_json())
    return _reported(folder, found)


def _key(image_selection: ImageSelection, split: Split, max_pixels: int, checksum: str) -> str:
    """Return a name for all that the range of a folder's images depends on."""
    chosen = image_selection.classes, image_selection.eval_percentage, image_selection.seed
    depends = ["range 1", checksum, split, *map(repr, chosen), str(max_pixels), version("pillow")]
    return hashlib.sha256("\0".join(depends).encode()).hexdigest()[:16]


class _Found(BaseModel):
    """The range of some files, and what it was found by.

    Attributes:
        low, high: the range; None without deep images.
        by: the second half of the line about it.
    """

    low: float | None
    high: float | None
    by: str

    @classmethod
    def none(cls) -> Self:
        """Return what is found without deep images."""
        return cls(low=None, high=None, by="")


def range_of_files(
    reader: FilesOnDisk, rows: Rows, folder: Path, max_pixels: int, num_workers: int | None
) -> GreyRange | None:
    """Decide the range for these files as `decide_range`.

    Args:
        reader, rows: the files.
        folder: of the files, for messages.
        max_pixels, num_workers: as for decoding.

    Raises:
        MixedValuesError: whole and floating-point numbers are mixed.
    """
    found, _ = _find(reader, rows, folder, max_pixels, num_workers)
    return _reported(folder, found)


def _reported(folder: Path, found: _Found) -> GreyRange | None:
    """Return the range, and log it in a line: a warning, since it is a guess; with ingest.range there is none."""
    if found.low is None or found.high is None:
        return None
    logger.warning("%s: %s; ingest.range=low-high sets another range", folder, found.by)
    return found.low, found.high


def _find(
    reader: FilesOnDisk, rows: Rows, folder: Path, max_pixels: int, num_workers: int | None
) -> tuple[_Found, bool]:
    """Return the range of these files, and whether any of those that were looked at cannot be read."""
    deep, unreadable = _deep_files(reader, rows, max_pixels, folder.name)
    if not len(deep):
        return _Found.none(), unreadable
    chosen = deep[np.unique(np.linspace(0, len(deep) - 1, min(len(deep), SAMPLE)).round().astype(int))]
    values = _values_of(_Look(reader, max_pixels), chosen, num_workers)
    if values is None:  # decoding will say which
        return _Found.none(), True
    if 0 < values.floating < values.images:
        raise MixedValuesError(
            f"{folder}: {values.floating} of {values.images} images of more than 8 bits have fractions as pixels, the "
            f"others whole numbers; set ingest.range=low-high if one range fits both, or convert them"
        )
    count = "1 image has" if len(deep) == 1 else f"{len(deep):,} images have"
    low, high = (format_number(end) for end in values.range)
    by = (
        f"{count} more than 8 bits; of the grey values ({values.lowest:g} to {values.highest:g} in {values.images:,} "
        f"of them) {low} to {high} become 0 to 255"
    )
    found = _Found(low=values.range[0], high=values.range[1], by=by)
    return found, unreadable or values.images < len(chosen)


def _deep_files(reader: FilesOnDisk, rows: Rows, max_pixels: int, name: str) -> tuple[NDArray[np.int64], bool]:
    """Return the rows of images of more than 8 bits, by their headers, and whether any file cannot be read."""
    found, unreadable = [], False
    for row in tqdm(rows, desc=f"look at {name}", unit="file", delay=2, leave=False):
        try:
            with open(reader.path(int(row)), "rb") as file:  # noqa: PTH123  # many, and pathlib is slow
                if _cannot_be_deep(file.read(HEAD)):
                    continue
                file.seek(0)
                with opened(file, max_pixels) as image:
                    if is_deep(image):
                        found.append(row)
        except (OSError, UnreadableImageError):  # decoding will name it
            unreadable = True
    return np.array(found, dtype=np.int64), unreadable


def _cannot_be_deep(head: bytes) -> bool:
    """Return whether the first bytes exclude more than 8 bits, for frequent kinds; ten times as fast as Pillow."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return head[24:25] != b"\x10"
    return head.startswith((b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF"))


class _Look(Dataset[list[DeepValues]]):
    """The deep values of some files, as a dataset for the decoding processes."""

    def __init__(self, reader: FilesOnDisk, max_pixels: int) -> None:
        self.reader = reader
        self.max_pixels = max_pixels

    def __getitem__(self, rows: NDArray[np.int64]) -> list[DeepValues]:
        found = []
        for row in rows:
            with suppress(UnreadableImageError):  # decoding will name it
                pixels = decode_pixels(self.reader(int(row)), self.max_pixels).pixels
                values, floating = pixels.values, int(pixels.values.dtype.kind == "f")
                found.append(DeepValues(float(values.min()), float(values.max()), 1, floating, pixels.bits or 0))
        return found


def _values_of(look: _Look, rows: NDArray[np.int64], num_workers: int | None) -> DeepValues | None:
    found: list[DeepValues] = []
    with tqdm(total=len(rows), desc="look at grey values", unit="img", delay=2, leave=False) as bar:
        for chunk in map_in_processes(look, rows, AT_ONCE, num_workers):
            found += chunk
            bar.update(AT_ONCE)
    if not found:
        return None
    lowest, highest, _, floating, bits = zip(*found, strict=True)
    return DeepValues(min(lowest), max(highest), len(found), sum(floating), max(bits) if min(bits) else 0)

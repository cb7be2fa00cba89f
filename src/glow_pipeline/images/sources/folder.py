"""A user's own images, in a folder: flat, or with a folder for each class, as torchvision's ImageFolder has them.

A folder with images directly in it is flat: one class, without a name, to which all images below it belong.
Otherwise the folders in it are the classes, each with all images below it, ordered by name, numbers as numbers. Links
are followed. Classes in `ingest.eval_path` have the numbers that their names have in `ingest.path`.

Without `ingest.eval_path` only a file's content and the seed decide whether it is for testing.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.buckets import Address, as_typed, is_address
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.classes import choose, shorten
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder_listing import (
    FolderLooks,
    class_names_of,
    in_other_form,
    no_image,
    outside,
)
from glow_pipeline.images.sources.image_files import ImageFiles
from glow_pipeline.images.sources.names import printable
from glow_pipeline.images.sources.source import EncodedSplit, Source, SourceFile, Split
from glow_pipeline.images.split_by_content import draw_by_content

if TYPE_CHECKING:
    from glow_pipeline.images.sources.folder_listing import OwnListing

logger = logging.getLogger(__name__)


def folder_source(image_selection: ImageSelection, looks: FolderLooks | None = None) -> Source:
    """Return the source of a person's own images, with the looks that the command has had at them."""
    folder = _Folder(image_selection, looks or FolderLooks())
    return Source(
        name=image_selection.source,
        title="your own images, in tar or parquet files" if image_selection.source == "shards" else "your own images",
        channels=3,
        n_bits=8,
        size=None,
        default_size=(32, 32),
        num_classes=1,
        licence="yours",
        counts=(0, 0, 0),
        files=folder.files,
        open=folder.open,
        passed_over=folder.passed_over,
    )


class _Folder:
    """The files and the images of a folder."""

    def __init__(self, image_selection: ImageSelection, looks: FolderLooks) -> None:
        self._selection = image_selection
        self._looks = looks
        self._passed_over: dict[Split, dict[str, int]] = {}

    def files(self, _raw: Path, split: Split) -> list[SourceFile]:
        """Return the folder, with one checksum of its images' names and contents, and of its classes' names."""
        listing = self._looks.listing(self._selection, split)
        self._passed_over[split] = listing.passed_over
        return [SourceFile(listing.folder, listing.checksum)]

    def passed_over(self, split: Split) -> dict[str, int]:
        return self._passed_over.get(split, {})

    def open(self, _files: Sequence[Path], split: Split) -> EncodedSplit:
        listing = self._looks.take(self._selection, split)
        rows = None if self._selection.eval_percentage is None else _drawn(listing, self._selection, split)
        return EncodedSplit(
            listing.labels if rows is None else listing.labels[rows],
            listing.reader(rows),
            class_names=[printable(name) for name in listing.class_names],
        )


def check_folder(path: Path, parameter: str, source: str = "folder") -> None:
    """Raise a GlowPipelineError when this is not a folder with an image, or for `shards` with a shard, somewhere in it.

    Of an address in object storage only that something is there is checked: a listing may take minutes.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:  # records are JSON
        raise GlowPipelineError(f"{parameter}={printable(str(path))}: its name is not UTF-8; rename it") from None
    if is_address(as_typed(path)):
        try:
            found = Address(as_typed(path)).exists()
        except GlowPipelineError as problem:
            raise GlowPipelineError(f"{parameter}={problem}") from None
        if not found:
            raise GlowPipelineError(f"{parameter}={as_typed(path)}: nothing is there; correct the address")
        return
    if source == "shards":
        if not path.exists():
            raise GlowPipelineError(f"{parameter}={path}: no such folder; give one with .tar or .parquet files")
        from glow_pipeline.images.sources.shards import find_shards

        find_shards(path)
        return
    if not path.is_dir():
        raise GlowPipelineError(f"{parameter}={path}: no such folder; give a folder of images")
    images = ImageFiles()
    if next(images.below(path), None) is None:
        raise GlowPipelineError(f"{parameter}={path}: {no_image(images)}")


def check_apart(image_selection: ImageSelection) -> None:
    """Raise a GlowPipelineError when all images for training would be images for testing."""
    path, eval_path = image_selection.path, image_selection.eval_path
    if path is None or eval_path is None:
        return
    if path.resolve().is_relative_to(eval_path.resolve()):
        relation = "is" if path.resolve() == eval_path.resolve() else "contains"
        raise GlowPipelineError(
            f"ingest.eval_path={eval_path}: {relation} ingest.path, so that no image is left to train on; "
            f"give another folder, or null to split by ingest.eval_percentage"
        )
    if in_other_form(image_selection):
        return
    if next(ImageFiles(outside(image_selection, "train")).below(path), None) is None:
        raise GlowPipelineError(
            f"ingest.eval_path={eval_path}: all images of ingest.path are in it, so that none is left to train on; "
            f"give another folder, or null to split by ingest.eval_percentage"
        )


def with_class_names(
    image_selection: ImageSelection, parameter: str, looks: FolderLooks | None = None
) -> ImageSelection:
    """Return a folder's selection with its chosen classes by name; other selections as they are.

    Args:
        parameter: name of the parameter that chose the classes, for the error.

    Raises:
        GlowPipelineError: a chosen class does not exist.
    """
    if not image_selection.is_folder or image_selection.classes is None:
        return image_selection
    names = [printable(name) for name in class_names_of(image_selection, "test", looks)]
    typed = "+".join(map(str, image_selection.classes))
    try:
        chosen = [names[k] for k in choose(image_selection.classes, names)]
    except GlowPipelineError as error:
        raise GlowPipelineError(f"{parameter}={typed}: {error}") from None
    if typed != "+".join(chosen):
        logger.info("%s=%s: these are the folders %s of %s", parameter, typed, shorten(chosen), image_selection.path)
    return image_selection.model_copy(update={"classes": tuple(chosen)})


def n_classes(image_selection: ImageSelection, looks: FolderLooks | None = None) -> int:
    """Return the number of classes in the folder of training images, by its folders; 1 if it is flat.

    Raises:
        GlowPipelineError: there is no such folder, or it cannot be listed.
    """
    return max(1, len(class_names_of(image_selection, "train", looks)))


def training_class_names(image_selection: ImageSelection, looks: FolderLooks | None = None) -> list[str]:
    """Return the names of the classes in the folder of training images, by number; [""] if it is flat.

    Raises:
        GlowPipelineError: there is no such folder, or it cannot be listed.
    """
    return [printable(name) for name in class_names_of(image_selection, "train", looks)]


def _drawn(listing: "OwnListing", image_selection: ImageSelection, split: Split) -> NDArray[np.int64]:
    """Return the rows of a split, drawn by the files' contents, independently of the chosen classes."""
    hashes = np.ascontiguousarray(listing.digests[:, :8]).view(np.int64)[:, 0]
    for_test = draw_by_content(
        hashes, image_selection.eval_percentage or 0.0, image_selection.seed or 0, "evaluation split"
    )
    if for_test.all() or not for_test.any():
        found = f"{len(for_test)} image" if len(for_test) == 1 else f"{len(for_test)} copies of one image"
        raise GlowPipelineError(
            f"ingest.path={image_selection.path}: {found} cannot be split into training and test images; give "
            f"ingest.eval_path, or more images"
        )
    return np.flatnonzero(for_test if split == "test" else ~for_test)

"""The listing of a user's folder of images: its images, their classes and their checksums."""

import hashlib
import logging
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.buckets import as_typed, is_address
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.classes import natural_key
from glow_pipeline.images.decoding import FORMATS
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.archives import FilesOnDisk
from glow_pipeline.images.sources.file_digests import file_digests
from glow_pipeline.images.sources.image_files import Identity, ImageFiles, identity, list_counts
from glow_pipeline.images.sources.kept_digests import KeptDigests
from glow_pipeline.images.sources.names import Names
from glow_pipeline.images.sources.source import Split

if TYPE_CHECKING:
    from glow_pipeline.images.sources.bucket_images import BucketListing
    from glow_pipeline.images.sources.shards import ShardListing

    OwnListing: TypeAlias = "FolderListing | ShardListing | BucketListing"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderListing:
    """The images of a folder.

    Attributes:
        names: relative to the folder.
        labels: of each (n,), places in `class_names`.
        passed_over: files that are no images, by suffix or kind -> how many.
    """

    folder: Path
    names: Names
    labels: NDArray[np.int64]
    class_names: list[str]
    passed_over: dict[str, int]
    kept: KeptDigests

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """SHA-256 of each file, uint8 (n, 32); of its error where it cannot be read."""
        return file_digests(self.folder, self.names, self.kept)

    def reader(self, rows: NDArray[np.int64] | None) -> FilesOnDisk:
        """Return the reader of these rows; None for all."""
        return FilesOnDisk(self.folder, self.names if rows is None else Names(self.names[row] for row in rows))

    @cached_property
    def checksum(self) -> str:
        """One checksum of the images' names and contents, and of the classes' names."""
        checksum = hashlib.sha256(b"\0".join(map(os.fsencode, self.class_names)))
        for index in range(len(self.names)):
            checksum.update(self.digests[index].tobytes() + self.names.encoded(index) + b"\0")
        return checksum.hexdigest()


@dataclass
class FolderLooks:
    """The looks of one command at a person's own images. Both splits, and all that ask for their checksums, share one.

    Attributes:
        kept: digests of files that were read before.
    """

    kept: KeptDigests = field(default_factory=KeptDigests)
    _listings: dict[tuple[ImageSelection, Split | None], "OwnListing"] = field(default_factory=dict)

    def listing(self, image_selection: ImageSelection, split: Split) -> "OwnListing":
        """List a split's images, or return the listing that was made before."""
        key = self._key(image_selection, split)
        if key not in self._listings:
            self._listings[key] = self._list(image_selection, split)
        return self._listings[key]

    def _list(self, image_selection: ImageSelection, split: Split) -> "OwnListing":
        if not in_other_form(image_selection):
            return list_folder(image_selection, split, self.kept)
        folder = place_of(image_selection, split)
        apart = image_selection.eval_path is not None and image_selection.eval_path != image_selection.path
        numbered: Sequence[str] | None = image_selection.class_names
        if numbered is None and split == "test" and apart:
            numbered = self.listing(image_selection, "train").class_names
        without = image_selection.eval_path if split == "train" else None
        if image_selection.source == "shards":
            from glow_pipeline.images.sources.shards import list_shards

            listings = None if self.kept.verify == "contents" else self.kept.place
            found: OwnListing = list_shards(folder, without, listings, numbered)
        else:
            from glow_pipeline.images.sources.bucket_images import list_bucket

            found = list_bucket(folder, without, numbered)
        if found.passed_over and (split == "train" or image_selection.eval_path is not None):
            logger.info(
                "%s: left out, no images that can be read: %s", as_typed(folder), list_counts(found.passed_over)
            )
        return found

    def take(self, image_selection: ImageSelection, split: Split) -> "OwnListing":
        """Return the listing as `listing` does, and forget it: it takes 100 bytes a file, and decoding takes long."""
        found = self.listing(image_selection, split)
        del self._listings[self._key(image_selection, split)]
        return found

    def forget(self) -> None:
        """Forget all listings and digests, but those that are stored for later commands."""
        self._listings.clear()
        self.kept.forget()

    @staticmethod
    def _key(image_selection: ImageSelection, split: Split) -> tuple[ImageSelection, Split | None]:
        one_folder = image_selection.eval_path is None
        return image_selection.model_copy(update={"classes": None, "name": None}), None if one_folder else split


def in_other_form(image_selection: ImageSelection) -> bool:
    """Return whether these images are in shards, or in object storage: not files of a folder on disk."""
    place = image_selection.path or image_selection.eval_path
    return image_selection.source == "shards" or (place is not None and is_address(as_typed(place)))


def place_of(image_selection: ImageSelection, split: Split) -> Path:
    """Return where the images of a split are; raise a GlowPipelineError where that is not set."""
    path = image_selection.path if split == "train" or image_selection.eval_path is None else image_selection.eval_path
    if path is None:
        source = image_selection.source
        raise GlowPipelineError(f"ingest.path=None: dataset={source} needs the folder of your images; set ingest.path")
    return path


def folder_of(image_selection: ImageSelection, split: Split) -> Path:
    """Return the folder of a split.

    Raises:
        GlowPipelineError: none is set, or there is no such folder.
    """
    path = place_of(image_selection, split)
    if not path.is_dir():
        raise GlowPipelineError(f"{path}: no such folder; give a folder of images")
    return path


def outside(image_selection: ImageSelection, split: Split) -> frozenset[Identity]:
    """Return the folders that this split leaves out: for training the test folders, which may be in `ingest.path`."""
    test = image_selection.eval_path
    if split == "test" or test is None or not test.is_dir():
        return frozenset()
    return frozenset(identity(parent) for parent, _, _ in os.walk(test))


def _classes_in(folder: Path, without: frozenset[Identity]) -> list[str]:
    """Return the folders in it that have images, in order; [""] if it is flat."""
    images = ImageFiles(without)
    directly, folders = images.directly_in(folder)
    if next(directly, None) is not None:
        return [""]
    folders.sort(key=natural_key)
    return [name for name in folders if next(images.below(folder / name, folder), None) is not None]


def class_names_of(image_selection: ImageSelection, split: Split, looks: FolderLooks | None = None) -> list[str]:
    """Return the classes' names by number; classes that only the test folder has come last."""
    if in_other_form(image_selection):
        return (looks or FolderLooks()).listing(image_selection, split).class_names
    own = _classes_in(folder_of(image_selection, split), outside(image_selection, split))
    return _numbered(own, image_selection, split)


def _numbered(own: list[str], image_selection: ImageSelection, split: Split) -> list[str]:
    """Return the classes' names by number, given those of the split's own folder in order."""
    if image_selection.class_names is not None:
        trained = list(image_selection.class_names)
    elif split == "train" or image_selection.eval_path is None or image_selection.eval_path == image_selection.path:
        return own
    else:
        trained = _classes_in(folder_of(image_selection, "train"), outside(image_selection, "train"))
    return trained + [name for name in own if name not in trained]


def list_folder(image_selection: ImageSelection, split: Split, kept: KeptDigests) -> FolderListing:
    """List all images of a split's folder, by name relative to it, with their classes; each folder is read once.

    Raises:
        GlowPipelineError: there is none, or a folder cannot be listed.
    """
    folder = folder_of(image_selection, split)
    images, names, numbers = ImageFiles(outside(image_selection, split)), Names(), array("q")
    directly, folders = images.directly_in(folder)
    first = next(directly, None)
    if first is not None:
        found = [("", images.below(folder, top=(chain([first], directly), folders)))]
    else:
        folders.sort(key=natural_key)
        found = [(f"{name}{os.sep}", images.below(folder / name, folder)) for name in folders]
    for number, (prefix, below) in enumerate(found):
        for name in below:
            names.append(prefix + name)
            numbers.append(number)
    if not len(names):
        raise GlowPipelineError(f"{folder}: {no_image(images)}")
    if images.passed_over and (split == "train" or image_selection.eval_path is not None):
        logger.info("%s: left out, no images that can be read: %s", folder, list_counts(images.passed_over))
    # A folder without an image is no class.
    with_images, places = np.unique(np.array(numbers), return_inverse=True)
    own = [found[number][0].removesuffix(os.sep) for number in with_images]
    class_names = _numbered(own, image_selection, split)
    labels = np.array([class_names.index(name) for name in own])[places]
    return FolderListing(folder, names, labels, class_names, dict(images.passed_over), kept)


def no_image(images: ImageFiles) -> str:
    """Return what to do about a folder without an image."""
    found = f" (there are {list_counts(images.passed_over)})" if images.passed_over else ""
    return f"no image in it{found}; convert what shows one to one of {', '.join(FORMATS)}"

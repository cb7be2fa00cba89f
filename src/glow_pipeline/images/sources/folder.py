"""A user's own images, in a folder: flat, or with a folder for each class, as torchvision's ImageFolder has them.

A folder with images directly in it is flat: one class, without a name, to which all images below it belong.
Otherwise the folders in it are the classes, each with all images below it, ordered by name, numbers as numbers. Links
are followed. Classes in `ingest.eval_path` have the numbers that their names have in `ingest.path`.

Without `ingest.eval_path` only a file's content and the seed decide whether it is for testing.
"""

import hashlib
import logging
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.classes import choose, natural_key, shorten
from glow_pipeline.images.decoding import FORMATS
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.archives import FilesOnDisk
from glow_pipeline.images.sources.file_digests import file_digests
from glow_pipeline.images.sources.image_files import Identity, ImageFiles, identity, list_counts
from glow_pipeline.images.sources.names import Names, printable
from glow_pipeline.images.sources.source import EncodedSplit, Source, SourceFile, Split
from glow_pipeline.images.split_by_content import draw_by_content

logger = logging.getLogger(__name__)


def folder_source(image_selection: ImageSelection) -> Source:
    """Return the source of a folder's images."""
    folder = _Folder(image_selection)
    return Source(
        name="folder",
        title="your own images",
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


@dataclass(frozen=True)
class _Listing:
    """The images of a folder."""

    folder: Path
    names: Names
    labels: NDArray[np.int64]
    class_names: list[str]
    passed_over: dict[str, int]
    splits: bool  # into images for training and for testing

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """SHA-256 of each file, uint8 (n, 32); of its error where it cannot be read."""
        return file_digests(self.folder, self.names, reuse=self.splits)


class _Folder:
    """The files and the images of a folder; each file is checksummed once for the two steps that need it."""

    def __init__(self, image_selection: ImageSelection) -> None:
        self._selection = image_selection
        self._listings: dict[Split, _Listing] = {}

    def files(self, _raw: Path, split: Split) -> list[SourceFile]:
        """Return the folder, with one checksum of its images' names and contents, and of its classes' names."""
        folder = _folder_of(self._selection, split)
        listing = _listed(self._selection, split)
        checksum = hashlib.sha256(b"\0".join(map(os.fsencode, listing.class_names)))
        for index in range(len(listing.names)):
            checksum.update(listing.digests[index].tobytes() + os.fsencode(listing.names[index]) + b"\0")
        self._listings[split] = listing
        return [SourceFile(folder, checksum.hexdigest())]

    def passed_over(self, split: Split) -> dict[str, int]:
        return self._listings[split].passed_over if split in self._listings else {}

    def open(self, files: Sequence[Path], split: Split) -> EncodedSplit:
        listing = self._listings.pop(split, None) or _listed(self._selection, split)
        names, labels = listing.names, listing.labels
        if self._selection.eval_percentage is not None:
            rows = _drawn(listing, self._selection, split)
            names, labels = Names([names[row] for row in rows]), labels[rows]
        return EncodedSplit(
            labels,
            FilesOnDisk(files[0], names),
            class_names=[printable(name) for name in listing.class_names],
        )


def check_folder(path: Path, parameter: str) -> None:
    """Raise a GlowPipelineError when this is not a folder with an image somewhere in it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # records are JSON
        raise GlowPipelineError(f"{parameter}={printable(str(path))}: its name is not UTF-8; rename it") from None
    if not path.is_dir():
        raise GlowPipelineError(f"{parameter}={path}: no such folder; give a folder of images")
    images = ImageFiles()
    if next(images.below(path), None) is None:
        raise GlowPipelineError(f"{parameter}={path}: {_no_image(images)}")


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
    if next(ImageFiles(_outside(image_selection, "train")).below(path), None) is None:
        raise GlowPipelineError(
            f"ingest.eval_path={eval_path}: all images of ingest.path are in it, so that none is left to train on; "
            f"give another folder, or null to split by ingest.eval_percentage"
        )


def with_class_names(image_selection: ImageSelection, parameter: str) -> ImageSelection:
    """Return a folder's selection with its chosen classes by name; other selections as they are.

    Args:
        parameter: name of the parameter that chose the classes, for the error.

    Raises:
        GlowPipelineError: a chosen class does not exist.
    """
    if not image_selection.is_folder or image_selection.classes is None:
        return image_selection
    names = [printable(name) for name in _class_names(image_selection, "test")]
    typed = "+".join(map(str, image_selection.classes))
    try:
        chosen = [names[k] for k in choose(image_selection.classes, names)]
    except GlowPipelineError as error:
        raise GlowPipelineError(f"{parameter}={typed}: {error}") from None
    if typed != "+".join(chosen):
        logger.info("%s=%s: these are the folders %s of %s", parameter, typed, shorten(chosen), image_selection.path)
    return image_selection.model_copy(update={"classes": tuple(chosen)})


def n_classes(image_selection: ImageSelection) -> int:
    """Return the number of classes in the folder of training images, by its folders; 1 if it is flat.

    Raises:
        GlowPipelineError: there is no such folder, or it cannot be listed.
    """
    return max(1, len(_class_names(image_selection, "train")))


def training_class_names(image_selection: ImageSelection) -> list[str]:
    """Return the names of the classes in the folder of training images, by number; [""] if it is flat.

    Raises:
        GlowPipelineError: there is no such folder, or it cannot be listed.
    """
    return [printable(name) for name in _class_names(image_selection, "train")]


def _folder_of(image_selection: ImageSelection, split: Split) -> Path:
    path = image_selection.path if split == "train" or image_selection.eval_path is None else image_selection.eval_path
    if path is None:
        raise GlowPipelineError("ingest.path=None: dataset=folder needs the folder of your images; set ingest.path")
    if not path.is_dir():
        raise GlowPipelineError(f"{path}: no such folder; give a folder of images")
    return path


def _outside(image_selection: ImageSelection, split: Split) -> frozenset[Identity]:
    """Return the folders that this split leaves out: for training the test folders, which may be in `ingest.path`."""
    test = image_selection.eval_path
    if split == "test" or test is None or not test.is_dir():
        return frozenset()
    return frozenset(identity(parent) for parent, _, _ in os.walk(test))


def _classes_in(folder: Path, outside: frozenset[Identity]) -> list[str]:
    """Return the folders in it that have images, in order; [""] if it is flat."""
    images = ImageFiles(outside)
    directly, folders = images.directly_in(folder)
    if next(directly, None) is not None:
        return [""]
    folders.sort(key=natural_key)
    return [name for name in folders if next(images.below(folder / name, folder), None) is not None]


def _class_names(image_selection: ImageSelection, split: Split) -> list[str]:
    """Return the classes' names by number; classes that only the test folder has come last."""
    own = _classes_in(_folder_of(image_selection, split), _outside(image_selection, split))
    if image_selection.class_names is not None:
        trained = list(image_selection.class_names)
    elif split == "train" or image_selection.eval_path is None or image_selection.eval_path == image_selection.path:
        return own
    else:
        trained = _classes_in(_folder_of(image_selection, "train"), _outside(image_selection, "train"))
    return trained + [name for name in own if name not in trained]


def _listed(image_selection: ImageSelection, split: Split) -> _Listing:
    """List all images of a split's folder, by name relative to it, with their classes.

    Raises:
        GlowPipelineError: there is none, or a folder cannot be listed.
    """
    folder, outside = _folder_of(image_selection, split), _outside(image_selection, split)
    class_names = _class_names(image_selection, split)
    images, names, labels = ImageFiles(outside), Names(), array("q")
    directly, folders = images.directly_in(folder)
    if next(directly, None) is not None:
        images, found = ImageFiles(outside), [("", "")]
    else:
        found = [(name, f"{name}{os.sep}") for name in sorted(folders, key=natural_key)]
    for class_name, prefix in found:
        label = class_names.index(class_name) if class_name in class_names else -1  # no image is in it
        for name in images.below(folder / class_name, *([folder] if class_name else [])):
            names.append(prefix + name)
            labels.append(label)
    if not len(names):
        raise GlowPipelineError(f"{folder}: {_no_image(images)}")
    if images.passed_over and (split == "train" or image_selection.eval_path is not None):
        logger.info("%s: left out, no images that can be read: %s", folder, list_counts(images.passed_over))
    splits = image_selection.eval_percentage is not None
    return _Listing(folder, names, np.array(labels), class_names, dict(images.passed_over), splits)


def _no_image(images: ImageFiles) -> str:
    found = f" (there are {list_counts(images.passed_over)})" if images.passed_over else ""
    return f"no image in it{found}; convert what shows one to one of {', '.join(FORMATS)}"


def _drawn(listing: _Listing, image_selection: ImageSelection, split: Split) -> NDArray[np.int64]:
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

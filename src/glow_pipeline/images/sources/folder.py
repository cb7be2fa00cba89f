"""A user's own images, in a folder: flat, or with a folder for each class, as torchvision's ImageFolder has them.

Images directly in the folder make it flat: one class, 0, and whatever lies further down belongs to it. Otherwise the
folders in it, sorted by name, are the classes 0, 1, ..., each with all that lies below. Links are followed. Classes in
`ingest.eval_path` have the numbers that their names have in `ingest.path`.
Files are images by their endings; others are passed over.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.images.archives import FilesOnDisk, Names, printable
from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.source import EncodedSplit, Source, SourceFile, Split
from glow_pipeline.images.workers import usable_cores
from glow_pipeline.randomness import generator

BLOCK = 4096
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NO_IMAGE = f"no image in it; images are files that end in {', '.join(ENDINGS)}"


def folder_source(image_set: ImageSet) -> Source:
    """The source that such a set of images is read from."""
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
        files=partial(_files, image_set),
        open=partial(_open, image_set),
    )


def check_folder(path: Path, parameter: str) -> None:
    """Raise a GlowPipelineError when this is no folder with an image somewhere in it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # records are JSON
        raise GlowPipelineError(f"{parameter}={printable(str(path))}: its name is not UTF-8; rename it") from None
    if not path.is_dir():
        raise GlowPipelineError(f"{parameter}={path}: no such folder; give a folder of images")
    if next(_images_below(path, ""), None) is None:
        raise GlowPipelineError(f"{parameter}={path}: {NO_IMAGE}")


def _folder_of(image_set: ImageSet, split: Split) -> Path:
    path = image_set.path if split == "train" or image_set.eval_path is None else image_set.eval_path
    if path is None:
        raise GlowPipelineError("ingest.path=None: dataset=folder needs the folder of your images; set ingest.path")
    return path


def _files(image_set: ImageSet, _raw: Path, split: Split) -> list[SourceFile]:
    """The folder, with one checksum of its images' names and contents, and of its classes' names."""
    folder, class_names = _folder_of(image_set, split), _classes_of(image_set, split)
    names, _ = _listed(folder, class_names)

    def of(index: int) -> bytes:
        path = folder / names[index]
        try:
            return f"{sha256(path)} ".encode() + os.fsencode(names[index])
        except OSError as problem:  # decoding will name it
            return f"unreadable {problem.errno} ".encode() + os.fsencode(names[index])

    whole = hashlib.sha256(b"\0".join(map(os.fsencode, class_names)))
    with (
        ThreadPoolExecutor(usable_cores()) as threads,
        tqdm(total=len(names), desc=f"check {folder.name}", unit="file", delay=2) as bar,
    ):
        # A pool takes all its tasks at once, and there may be millions.
        for start in range(0, len(names), BLOCK):
            for line in threads.map(of, range(start, min(start + BLOCK, len(names)))):
                whole.update(line + b"\0")
                bar.update()
    return [SourceFile(folder, whole.hexdigest())]


def _open(image_set: ImageSet, files: Sequence[Path], split: Split) -> EncodedSplit:
    folder, class_names = files[0], _classes_of(image_set, split)
    names, labels = _listed(folder, class_names)
    if image_set.eval_percentage is not None:
        if len(names) < 2:
            raise GlowPipelineError(
                f"ingest.path={folder}: 1 image cannot be split into training and test images; give ingest.eval_path, "
                f"or more images"
            )
        rows = _drawn(len(names), image_set.eval_percentage, image_set.seed or 0, split)
        names, labels = Names([names[row] for row in rows]), labels[rows]
    return EncodedSplit(labels, FilesOnDisk(folder, names), num_classes=max(1, len(class_names)))


def _drawn(count: int, percentage: float, seed: int, split: Split) -> NDArray[np.int64]:
    """Rows of a split; which images are for testing does not depend on the classes that are asked for."""
    n_test = min(max(1, round(count * percentage / 100)), count - 1)
    order = torch.randperm(count, generator=generator(seed, "evaluation split")).numpy()
    return np.sort(order[:n_test] if split == "test" else order[n_test:])


def _class_names(folder: Path) -> list[str]:
    """The folders in it that have images, by name; none where images lie directly in it: it is flat."""
    if not folder.is_dir():
        raise GlowPipelineError(f"{folder}: no such folder; give a folder of images")
    _, folders, files = next(os.walk(folder, onerror=_refuse))
    if any(_is_image(name) for name in files):
        return []
    inside = sorted(name for name in folders if not name.startswith("."))
    return [name for name in inside if next(_images_below(folder / name, "", folder), None) is not None]


def _classes_of(image_set: ImageSet, split: Split) -> list[str]:
    """Class k is the k-th of these; a folder of test images has the numbers of the one with training images."""
    own = _class_names(_folder_of(image_set, split))
    if split == "train" or image_set.eval_path is None or not own:
        return own
    trained = _class_names(_folder_of(image_set, "train"))
    return trained + [name for name in own if name not in trained]


def _listed(folder: Path, class_names: list[str]) -> tuple[Names, NDArray[np.int64]]:
    """All images of a folder, by name relative to it, with their classes.

    Raises:
        GlowPipelineError: there is none, or a folder cannot be looked into.
    """
    names, labels = Names(), []
    for label, class_name in enumerate(class_names or [""]):
        if class_name and not (folder / class_name).is_dir():
            continue
        prefix, above = (f"{class_name}{os.sep}", [folder]) if class_name else ("", [])
        for name in _images_below(folder / class_name, prefix, *above):
            names.append(name)
            labels.append(label)
    if not len(names):
        raise GlowPipelineError(f"{folder}: {NO_IMAGE}")
    return names, np.array(labels, dtype=np.int64)


def _images_below(folder: Path, prefix: str, *above: Path) -> Iterator[str]:
    """Names of the images in and below a folder, each after `prefix`, in a fixed order.

    Link loops end: no folder is entered twice, nor one of those `above`.
    """
    seen = {_identity(path) for path in above}
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        here = _identity(parent)
        if here in seen:
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(parent, folder)
        for name in sorted(files):
            if _is_image(name):
                yield prefix + (name if inside == "." else os.path.join(inside, name))  # noqa: PTH118


def _identity(folder: str | Path) -> tuple[int, int]:
    """The same for all links to a folder."""
    status = os.stat(folder)  # noqa: PTH116  # os.walk gives str, and there may be many
    return status.st_dev, status.st_ino


def _refuse(problem: OSError) -> NoReturn:
    """A folder that is left out without a word would give the classes after it other numbers."""
    raise GlowPipelineError(
        f"{printable(str(problem.filename))}: {problem.strerror}; make it readable, or move it elsewhere"
    )


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")

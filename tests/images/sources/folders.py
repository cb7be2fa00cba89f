"""Folders of small pictures, and the images that are read from them."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder import folder_source
from glow_pipeline.images.sources.source import EncodedSplit, Split


def picture(level: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((3, 2), level, dtype=np.uint8)).save(stream, kind)
    return stream.getvalue()


def put(folder: Path, *names: str) -> Path:
    """Write pictures of one level each, which depends on their name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(int.from_bytes(hashlib.sha256(name.encode()).digest()[:1])))
    return folder


def image_selection(
    path: Path,
    eval_path: Path | None = None,
    percentage: float = 10.0,
    seed: int = 0,
    classes: Sequence[int | str] | None = None,
) -> ImageSelection:
    return ImageSelection.of_folder(str(path), None if eval_path is None else str(eval_path), percentage, seed, classes)


def opened(images: ImageSelection, split: Split = "train") -> EncodedSplit:
    """Find, checksum and open the files, like the pipeline."""
    source = folder_source(images)
    result = source.open([file.path for file in source.files(Path("raw"), split)], split)
    assert isinstance(result, EncodedSplit)
    assert result.labels.dtype == np.int64
    return result


def names(split: EncodedSplit) -> list[str]:
    return [split.reader.name(index) for index in range(len(split.labels))]


def all_of(folder: Path) -> dict[str, int]:
    """Return the class of every image of a folder, by name."""
    split = opened(image_selection(folder, folder), "test")
    listed = names(split)
    assert len(set(listed)) == len(listed)
    return dict(zip(listed, split.labels.tolist(), strict=True))


def checksum(folder: Path, split: Split = "train", eval_path: Path | None = None) -> str:
    (file,) = folder_source(image_selection(folder, eval_path)).files(Path("raw"), split)
    assert file.path == (folder if split == "train" or eval_path is None else eval_path)
    assert len(bytes.fromhex(file.sha256)) == 32
    return file.sha256

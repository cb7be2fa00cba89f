"""Folders of small pictures, and what is read of them."""

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder import folder_source
from glow_pipeline.images.sources.source import EncodedSplit, Split


def picture(level: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((3, 2), level, dtype=np.uint8)).save(stream, kind)
    return stream.getvalue()


def put(folder: Path, *names: str) -> Path:
    """Pictures of one level each, by which they can be told apart."""
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
    """Find, checksum and open the files, as the pipeline does."""
    source = folder_source(images)
    result = source.open([file.path for file in source.files(Path("raw"), split)], split)
    assert isinstance(result, EncodedSplit)
    assert result.labels.dtype == np.int64
    return result


def names(split: EncodedSplit) -> list[str]:
    return [split.reader.name(index) for index in range(len(split.labels))]


def all_of(folder: Path) -> dict[str, int]:
    """Every image of a folder, by name, with its class."""
    split = opened(image_selection(folder, folder), "test")
    listed = names(split)
    assert len(set(listed)) == len(listed)
    return dict(zip(listed, split.labels.tolist(), strict=True))


def one_line(action: Callable[[], Any]) -> str:
    with pytest.raises(GlowPipelineError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def checksum(folder: Path, split: Split = "train", eval_path: Path | None = None) -> str:
    (file,) = folder_source(image_selection(folder, eval_path)).files(Path("raw"), split)
    assert file.path == (folder if split == "train" or eval_path is None else eval_path)
    assert len(bytes.fromhex(file.sha256)) == 32
    return file.sha256

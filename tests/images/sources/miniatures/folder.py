"""A user's folders of training and of test images, with two classes."""

from functools import cache
from pathlib import Path

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import Split
from tests.images.sources.contract import Expected, Miniature, decoded
from tests.images.sources.folders import picture

NAMES: dict[Split, list[str]] = {
    "train": ["cats/1.png", "cats/2.png", "cats/deep/3.png", "dogs/1.png"],
    "test": ["cats/4.png", "dogs/5.png", "dogs/6.png"],
}


def selection(raw: Path) -> ImageSelection:
    return ImageSelection.of_folder(str(raw / "own" / "train"), str(raw / "own" / "test"), 10.0, 0)


@cache
def miniature() -> Miniature:
    expected: dict[Split, Expected] = {}
    files: dict[str, bytes] = {}
    for start, (split, names) in zip((10, 100), NAMES.items(), strict=True):
        contents = [picture(start + i) for i in range(len(names))]
        files |= {f"own/{split}/{name}": content for name, content in zip(names, contents, strict=True)}
        expected[split] = Expected([decoded(c) for c in contents], [int(name[0] == "d") for name in names], names)
    needed = {split: [f"own/{split}"] for split in NAMES}
    return Miniature("folder", files, needed, expected, selection=selection)


MINIATURES = {"folder": miniature}

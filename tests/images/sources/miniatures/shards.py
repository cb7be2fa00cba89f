"""A user's tars of training images and parquet file of test images, with two classes."""

from functools import cache
from pathlib import Path

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import Split
from tests.images.sources.contract import Expected, Miniature, decoded
from tests.images.sources.folders import picture
from tests.images.sources.shards import parquet, tar

START: dict[Split, int] = {"train": 10, "test": 100}
CLASSES: dict[Split, list[str]] = {"train": ["cats", "dogs", "cats", "cats", "dogs"], "test": ["dogs", "cats", "dogs"]}


def selection(raw: Path) -> ImageSelection:
    own = raw / "shards"
    return ImageSelection.of_folder(str(own / "train"), str(own / "test"), 10.0, 0, source="shards")


@cache
def miniature() -> Miniature:
    contents = {split: [picture(start + i) for i in range(len(CLASSES[split]))] for split, start in START.items()}
    members = [
        (f"{k}{suffix}", content)
        for k, (image, label) in enumerate(zip(contents["train"], CLASSES["train"], strict=True))
        for suffix, content in ((".png", image), (".cls", label.encode()))
    ]
    files = {
        "shards/train/0.tar": tar(members[:4]),
        "shards/train/1.tar": tar(members[4:]),
        "shards/test/0.parquet": parquet(contents["test"], CLASSES["test"], group=2),
    }
    names = {"train": [f"{k}.png" for k in range(5)], "test": [f"0.parquet#{k}" for k in range(3)]}
    expected: dict[Split, Expected] = {
        split: Expected([decoded(c) for c in contents[split]], [int(n == "dogs") for n in CLASSES[split]], names[split])
        for split in CLASSES
    }
    return Miniature("shards", files, {split: [f"shards/{split}"] for split in CLASSES}, expected, selection=selection)


MINIATURES = {"shards": miniature}

"""DTD: the gzipped tar archive with three classes and two partitions."""

from functools import cache

from glow_pipeline.images.sources.source import Split
from tests.images.sources.archive_files import jpeg, tar_of
from tests.images.sources.contract import Expected, Miniature, decoded

FILE = "dtd/dtd-r1.0.1.tar.gz"
CLASSES = ("banded", "blotchy", "zigzagged")
# By split and partition; lists are sorted, and each class is in each of them, twice or once.
LISTS = {
    f"{split}{partition}": [
        f"{name}/{name}_{i:04}.jpg" for name in CLASSES for i in (shift + partition, shift + 10 + partition)[:count]
    ]
    for partition in (1, 2)
    for split, shift, count in (("train", 100, 2), ("val", 200, 1), ("test", 300, 2))
}
LISTED: dict[Split, list[str]] = {"train": LISTS["train1"] + LISTS["val1"], "test": LISTS["test1"]}


def members() -> dict[str, bytes]:
    """Return images of different sizes, not in the order of the lists, and the lists."""
    names = sorted({name for listed in LISTS.values() for name in listed}, key=lambda name: name[::-1])
    return {
        "dtd/": b"",
        "dtd/images/": b"",
        **{f"dtd/images/{name}": jpeg(i, (20 + i, 30)) for i, name in enumerate(names)},
        "dtd/imdb/imdb.mat": b"MATLAB 5.0 MAT-file",
        **{f"dtd/labels/{name}.txt": "\n".join([*listed, ""]).encode() for name, listed in LISTS.items()},
        "dtd/labels/labels_joint_anno.txt": b"banded/banded_0101.jpg banded \n",
    }


@cache
def miniature() -> Miniature:
    files = members()
    expected = {
        split: Expected(
            [decoded(files[f"dtd/images/{name}"]) for name in listed],
            [CLASSES.index(name.split("/")[0]) for name in listed],
            [f"dtd/images/{name}" for name in listed],
            own_validation=len(LISTS["val1"]) if split == "train" else 0,
        )
        for split, listed in LISTED.items()
    }
    return Miniature(
        "dtd", {FILE: tar_of(files, "w:gz")}, {"train": [FILE], "test": [FILE]}, expected, made=["dtd/dtd-r1.0.1.tar"]
    )


MINIATURES = {"dtd": miniature}

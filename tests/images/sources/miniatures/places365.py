"""Places365: the tar archives of lists and of images, with five categories."""

from functools import cache

from glow_pipeline.images.sources.source import Split
from tests.images.sources.archive_files import jpeg, tar_of
from tests.images.sources.contract import Expected, Miniature, decoded

LISTS = "places365/filelist_places365-standard.tar"
ARCHIVES: dict[Split, str] = {
    "train": "places365/train_256_places365standard.tar",
    "test": "places365/val_256.tar",
}
# Some true categories; one is a part of another's name, and two have a second part. Numbers follow the names.
CATEGORIES = {
    "/a/airfield": 0,
    "/a/airport_terminal": 1,
    "/a/apartment_building/outdoor": 2,
    "/b/bedroom": 3,
    "/b/bow_window/indoor": 4,
}
VAL = {f"Places365_val_{i:08}.jpg": number for i, number in ((1, 3), (2, 0), (3, 4), (4, 0))}


def train_images() -> dict[str, bytes]:
    """Return images below data_256, with folders; not in the order of the categories."""
    files: dict[str, bytes] = {"data_256/": b"", "data_256/a/": b"", "data_256/b/": b""}
    for seed, name in enumerate(sorted(CATEGORIES, key=lambda name: name[::-1])):
        files[f"data_256{name}/"] = b""
        files |= {
            f"data_256{name}/{i:08}.jpg": jpeg(10 * seed + i, (256, 256), "RGB" if i < 3 else "L") for i in (1, 3)
        }
    return files


def val_images() -> dict[str, bytes]:
    return {"val_256/": b""} | {f"val_256/{name}": jpeg(ord(name[-5])) for name in reversed(VAL)}


def text(numbers: dict[str, int]) -> bytes:
    return "".join(f"{name} {number}\n" for name, number in numbers.items()).encode()


def lists() -> dict[str, bytes]:
    train = [name.removeprefix("data_256") for name in sorted(train_images()) if name.endswith(".jpg")]
    return {
        "categories_places365.txt": text(CATEGORIES),
        "places365_train_standard.txt": text({name: CATEGORIES[name.rpartition("/")[0]] for name in train}),
        "places365_val.txt": text(VAL),
        "places365_test.txt": b"Places365_test_00000001.jpg\n",
    }


def label(name: str) -> int:
    return VAL[name[8:]] if name.startswith("val_256/") else CATEGORIES[f"/{name[9:-13]}"]


@cache
def miniature() -> Miniature:
    images: dict[Split, dict[str, bytes]] = {"train": train_images(), "test": val_images()}
    files = {LISTS: tar_of(lists())} | {ARCHIVES[split]: tar_of(members) for split, members in images.items()}
    expected: dict[Split, Expected] = {}
    for split, members in images.items():
        names = [name for name in members if name.endswith(".jpg")]
        expected[split] = Expected([decoded(members[name]) for name in names], [label(name) for name in names], names)
    return Miniature("places365", files, {split: [LISTS, ARCHIVES[split]] for split in images}, expected)


MINIATURES = {"places365": miniature}

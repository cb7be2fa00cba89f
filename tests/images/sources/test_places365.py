import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from glow_pipeline.images.sources.places365 import PLACES365
from glow_pipeline.images.sources.source import EncodedSplit, Split
from tests.images.sources.archive_files import tar_of
from tests.images.sources.conftest import Publish
from tests.images.sources.contract import error_of, images_of, opened
from tests.images.sources.miniatures.places365 import (
    ARCHIVES,
    CATEGORIES,
    LISTS,
    lists,
    miniature,
    text,
    train_images,
)


@pytest.fixture
def raw(publish: Publish) -> Path:
    return publish(miniature().files)


@pytest.fixture
def unpacked(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as torchvision leaves it after its download."""
    folder = tmp_path / "unpacked"
    for archive in (raw / "places365").glob("*.tar"):
        with tarfile.open(archive) as members:
            members.extractall(folder, filter="data")
    (folder / "data_256").rename(folder / "data_256_standard")

    def md5(name: str) -> tuple[str, str]:
        return name, hashlib.md5((folder / name).read_bytes()).hexdigest()

    monkeypatch.setattr(datasets.Places365, "_CATEGORIES_META", md5("categories_places365.txt"))
    listed = {"train-standard": md5("places365_train_standard.txt"), "val": md5("places365_val.txt")}
    monkeypatch.setattr(datasets.Places365, "_FILE_LIST_META", listed)
    return folder


@pytest.mark.parametrize(("split", "theirs"), [("train", "train-standard"), ("test", "val")])
def test_places365_is_as_torchvision_reads_it(raw: Path, unpacked: Path, split: Split, theirs: str) -> None:
    dataset = datasets.Places365(unpacked, split=theirs, small=True)
    expected = {
        Path(path).relative_to(unpacked).as_posix().replace("data_256_standard", "data_256"): i
        for i, (path, _) in enumerate(dataset.imgs)
    }
    ours = opened(PLACES365, raw, split)
    assert isinstance(ours, EncodedSplit)
    names = [ours.reader.name(i) for i in range(len(ours.labels))]
    assert sorted(names) == sorted(expected)
    for name, label, image in zip(names, ours.labels, images_of(ours), strict=True):
        their_image, their_label = dataset[expected[name]]
        assert label == their_label
        assert np.array_equal(np.array(Image.fromarray(image.squeeze()).convert("RGB")), np.array(their_image))


CATEGORIES_TXT, VAL_TXT = "categories_places365.txt", "places365_val.txt"
ALL_BUT_ONE = {name: number for name, number in CATEGORIES.items() if number != 2}


@pytest.mark.parametrize(
    ("changed", "split", "file", "named"),
    [
        ({CATEGORIES_TXT: None}, "train", LISTS, CATEGORIES_TXT),
        ({VAL_TXT: None}, "test", LISTS, VAL_TXT),
        ({CATEGORIES_TXT: b"/a/airfield 0\n/b/bedroom\n"}, "train", LISTS, CATEGORIES_TXT),
        ({CATEGORIES_TXT: b"/a/airfield zero\n"}, "train", LISTS, CATEGORIES_TXT),
        ({VAL_TXT: b"\xff\xfe 1\n"}, "test", LISTS, VAL_TXT),
        ({CATEGORIES_TXT: text(ALL_BUT_ONE)}, "train", ARCHIVES["train"], "/a/apartment_building/outdoor"),
        ({VAL_TXT: b"Places365_val_00000001.jpg 3\n"}, "test", ARCHIVES["test"], "Places365_val_00000004.jpg"),
    ],
)
def test_lists_that_do_not_match_are_refused(
    publish: Publish, changed: dict[str, bytes | None], split: Split, file: str, named: str
) -> None:
    listed = {name: content for name, content in (lists() | changed).items() if content is not None}
    raw = publish(miniature().files | {LISTS: tar_of(listed)})
    message = error_of(lambda: opened(PLACES365, raw, split))
    assert message.startswith(f"{raw / file}: ")
    assert named in message
    assert message.endswith(("fetch it again", "fetch both again"))


@pytest.mark.parametrize("name", ["data_256/../../evil.jpg", "/abs/evil.jpg", "evil.jpg"])
def test_image_without_a_category_is_refused(publish: Publish, name: str) -> None:
    raw = publish(miniature().files | {ARCHIVES["train"]: tar_of(train_images() | {name: b"evil"})})
    message = error_of(lambda: opened(PLACES365, raw, "train"))
    assert message.startswith(f"{raw / ARCHIVES['train']}: ")
    assert not list(raw.parent.rglob("evil*"))

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from glow_pipeline.images.sources import places365
from glow_pipeline.images.sources.places365 import PLACES365
from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import Split
from tests.images.sources.archive_files import contents, jpeg, message_of, opened, published, served, tar_of

# Some true categories; one is a part of another's name, and two have a second part. Numbers follow the whole names.
CATEGORIES = {
    "/a/airfield": 0,
    "/a/airport_terminal": 1,
    "/a/apartment_building/outdoor": 2,
    "/b/bedroom": 3,
    "/b/bow_window/indoor": 4,
}
VAL = {f"Places365_val_{i:08}.jpg": number for i, number in ((1, 3), (2, 0), (3, 4), (4, 0))}
ARCHIVE_OF: dict[Split, str] = {"train": "train_256_places365standard.tar", "test": "val_256.tar"}


def train_images() -> dict[str, bytes]:
    """Below data_256, with the folders; not in the order of the categories."""
    files: dict[str, bytes] = {"data_256/": b"", "data_256/a/": b"", "data_256/b/": b""}
    for seed, name in enumerate(sorted(CATEGORIES, key=lambda name: name[::-1])):
        files[f"data_256{name}/"] = b""
        files |= {
            f"data_256{name}/{i:08}.jpg": jpeg(10 * seed + i, (256, 256), "RGB" if i < 3 else "L") for i in (1, 3)
        }
    return files


def val_images() -> dict[str, bytes]:
    return {"val_256/": b""} | {f"val_256/{name}": jpeg(ord(name[-5])) for name in reversed(VAL)}


def lists() -> dict[str, bytes]:
    train = [name.removeprefix("data_256") for name in sorted(train_images()) if name.endswith(".jpg")]
    return {
        "categories_places365.txt": text(CATEGORIES),
        "places365_train_standard.txt": text({name: CATEGORIES[name.rpartition("/")[0]] for name in train}),
        "places365_val.txt": text(VAL),
        "places365_test.txt": b"Places365_test_00000001.jpg\n",
    }


def text(numbers: dict[str, int]) -> bytes:
    return "".join(f"{name} {number}\n" for name, number in numbers.items()).encode()


def publish(
    monkeypatch: pytest.MonkeyPatch,
    raw: Path,
    *,
    lists_tar: bytes,
    train: bytes,
    val: bytes,
    address: str | None = None,
) -> None:
    """Into the folder of the source; or, given an address, into one that is served there."""

    def remote(name: str, content: bytes) -> RemoteFile:
        before = {remote.name: remote for remote in (places365.LISTS, *places365.ARCHIVES.values())}[name]
        if address is None:
            return published(before, content, raw / "places365")
        return published(before, content, raw, (f"{address}{name}",))

    replaced = {
        "train": remote(ARCHIVE_OF["train"], train),
        "test": remote(ARCHIVE_OF["test"], val),
    }
    monkeypatch.setattr(places365, "LISTS", remote("filelist_places365-standard.tar", lists_tar))
    monkeypatch.setattr(places365, "ARCHIVES", replaced)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    publish(monkeypatch, tmp_path, lists_tar=tar_of(lists()), train=tar_of(train_images()), val=tar_of(val_images()))
    return tmp_path


@pytest.fixture
def unpacked(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as torchvision has it after its download."""
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


def pixels(encoded: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.array(Image.open(io.BytesIO(encoded)).convert("RGB"))


@pytest.mark.parametrize(("split", "theirs"), [("train", "train-standard"), ("test", "val")])
def test_images_and_classes_are_those_of_torchvision(raw: Path, unpacked: Path, split: Split, theirs: str) -> None:
    dataset = datasets.Places365(unpacked, split=theirs, small=True)
    expected = {
        Path(path).relative_to(unpacked).as_posix().replace("data_256_standard", "data_256"): i
        for i, (path, _) in enumerate(dataset.imgs)
    }
    ours = opened(PLACES365, raw, split)
    assert ours.labels.dtype == np.int64
    assert ours.own_validation == 0
    found = contents(ours)
    assert set(found) == set(expected)
    for name, (label, encoded) in found.items():
        image, their_label = dataset[expected[name]]
        assert label == their_label
        assert np.array_equal(pixels(encoded), np.array(image))


def test_images_come_in_the_order_of_the_archive(raw: Path) -> None:
    train = {name: content for name, content in train_images().items() if content}
    expected = [(name, (CATEGORIES[f"/{name[9:-13]}"], content)) for name, content in train.items()]
    assert list(contents(opened(PLACES365, raw, "train")).items()) == expected
    val = {name: content for name, content in val_images().items() if content}
    expected = [(name, (VAL[name[8:]], content)) for name, content in val.items()]
    assert list(contents(opened(PLACES365, raw, "test")).items()) == expected


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_archive_of_the_other_split_is_not_asked_for(raw: Path, split: Split) -> None:
    folder = raw / "places365"
    other = ARCHIVE_OF["test" if split == "train" else "train"]
    (folder / other).unlink()
    there = [folder / "filelist_places365-standard.tar", folder / ARCHIVE_OF[split]]
    assert [file.path for file in PLACES365.files(raw, split)] == there
    assert PLACES365.on_disk(raw) == (there, [folder / other])
    opened(PLACES365, raw, split)
    assert {path for path in raw.rglob("*") if path.is_file() and path.suffix != ".lock"} == set(there)


def test_absent_archives_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path / "server", monkeypatch) as address:
        given = {"lists_tar": tar_of(lists()), "train": b"not asked for", "val": tar_of(val_images())}
        publish(monkeypatch, tmp_path / "server", **given, address=address)
        files = PLACES365.files(tmp_path, "test")
    assert [file.path.read_bytes() for file in files] == [given["lists_tar"], given["val"]]
    assert not (tmp_path / "places365" / ARCHIVE_OF["train"]).exists()
    assert len(opened(PLACES365, tmp_path, "test").labels) == len(VAL)


def test_what_is_fetched_is_what_torchvision_fetches() -> None:
    theirs = datasets.Places365
    assert (places365.LISTS.name, places365.LISTS.md5) == theirs._DEVKIT_META["standard"]
    theirs_of: dict[Split, str] = {"train": "train-standard", "test": "val"}
    for split, key in theirs_of.items():
        remote = places365.ARCHIVES[split]
        assert (remote.name, remote.md5) == theirs._IMAGES_META[(key, True)]
        assert remote.urls == (theirs._BASE_URL + remote.name,)
    assert places365.LISTS.urls == (theirs._BASE_URL + places365.LISTS.name,)


CATEGORIES_TXT, VAL_TXT = "categories_places365.txt", "places365_val.txt"
ALL_BUT_ONE = {name: number for name, number in CATEGORIES.items() if number != 2}


@pytest.mark.parametrize(
    ("changed", "split", "file", "named"),
    [
        ({CATEGORIES_TXT: None}, "train", "filelist_places365-standard.tar", CATEGORIES_TXT),
        ({VAL_TXT: None}, "test", "filelist_places365-standard.tar", VAL_TXT),
        ({CATEGORIES_TXT: b"/a/airfield 0\n/b/bedroom\n"}, "train", "filelist_places365-standard.tar", CATEGORIES_TXT),
        ({CATEGORIES_TXT: b"/a/airfield zero\n"}, "train", "filelist_places365-standard.tar", CATEGORIES_TXT),
        ({VAL_TXT: b"\xff\xfe 1\n"}, "test", "filelist_places365-standard.tar", VAL_TXT),
        ({CATEGORIES_TXT: text(ALL_BUT_ONE)}, "train", ARCHIVE_OF["train"], "/a/apartment_building/outdoor"),
        ({VAL_TXT: b"Places365_val_00000001.jpg 3\n"}, "test", ARCHIVE_OF["test"], "Places365_val_00000004.jpg"),
    ],
)
def test_lists_that_do_not_fit_the_archive_are_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, bytes | None],
    split: Split,
    file: str,
    named: str,
) -> None:
    listed = {name: content for name, content in (lists() | changed).items() if content is not None}
    publish(monkeypatch, tmp_path, lists_tar=tar_of(listed), train=tar_of(train_images()), val=tar_of(val_images()))
    message = message_of(lambda: opened(PLACES365, tmp_path, split))
    assert message.startswith(f"{tmp_path / 'places365' / file}: ")
    assert named in message
    assert message.endswith(("fetch it again", "fetch both again"))


@pytest.mark.parametrize("name", ["data_256/../../evil.jpg", "/abs/evil.jpg", "evil.jpg"])
def test_an_image_in_no_category_is_an_error_and_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    train = tar_of(train_images() | {name: b"evil"})
    publish(monkeypatch, tmp_path, lists_tar=tar_of(lists()), train=train, val=b"")
    message = message_of(lambda: opened(PLACES365, tmp_path, "train"))
    assert message.startswith(f"{tmp_path / 'places365' / ARCHIVE_OF['train']}: ")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("which", ["lists_tar", "val"])
@pytest.mark.parametrize("damage", ["half", "empty", "page"])
def test_a_damaged_archive_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, damage: str
) -> None:
    given = {"lists_tar": tar_of(lists()), "val": tar_of(val_images()), "train": b""}
    # Half of the first file, for a tar archive is zeros at its end.
    given[which] = {"half": given[which][:700], "empty": b"", "page": b"<html>log in first</html>"}[damage]
    publish(monkeypatch, tmp_path, **given)  # type: ignore[arg-type]
    file = tmp_path / "places365" / {"lists_tar": "filelist_places365-standard.tar", "val": ARCHIVE_OF["test"]}[which]
    message = message_of(lambda: opened(PLACES365, tmp_path, "test"))
    assert message.startswith(f"{file}: not a whole tar archive (")

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources import dtd
from glow_pipeline.images.sources.dtd import DTD
from glow_pipeline.images.sources.source import EncodedSplit, Split
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from tests.images.sources.archive_files import contents, jpeg, message_of, opened, published, served, tar_of

CLASSES = ("banded", "blotchy", "zigzagged")
# By partition and split; lists are sorted, and each class is in each of them, twice or once.
LISTS = {
    f"{split}{partition}": [
        f"{name}/{name}_{i:04}.jpg" for name in CLASSES for i in (shift + partition, shift + 10 + partition)[:count]
    ]
    for partition in (1, 2)
    for split, shift, count in (("train", 100, 2), ("val", 200, 1), ("test", 300, 2))
}


def textures() -> dict[str, bytes]:
    """A small DTD, file by file; images of different sizes, in another order than that of the lists."""
    names = sorted({name for listed in LISTS.values() for name in listed}, key=lambda name: name[::-1])
    return {
        "dtd/": b"",
        "dtd/images/": b"",
        **{f"dtd/images/{name}": jpeg(i, (20 + i, 30)) for i, name in enumerate(names)},
        "dtd/imdb/imdb.mat": b"MATLAB 5.0 MAT-file",
        **{f"dtd/labels/{name}.txt": "\n".join([*listed, ""]).encode() for name, listed in LISTS.items()},
        "dtd/labels/labels_joint_anno.txt": b"banded/banded_0101.jpg banded \n",
    }


def publish(monkeypatch: pytest.MonkeyPatch, raw: Path, content: bytes) -> Path:
    monkeypatch.setattr(dtd, "REMOTE", published(dtd.REMOTE, content, raw / "dtd"))
    return raw / "dtd" / "dtd-r1.0.1.tar.gz"


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    publish(monkeypatch, tmp_path, tar_of(textures(), "w:gz"))
    return tmp_path


def pixels(encoded: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.array(Image.open(io.BytesIO(encoded)).convert("RGB"))


@pytest.mark.parametrize(("split", "parts"), [("train", ("train", "val")), ("test", ("test",))])
def test_images_and_classes_are_those_of_torchvision(
    raw: Path, tmp_path: Path, split: Split, parts: tuple[str, ...]
) -> None:
    with tarfile.open(raw / "dtd" / "dtd-r1.0.1.tar.gz") as archive:
        archive.extractall(tmp_path / "unpacked" / "dtd", filter="data")
    theirs = [datasets.DTD(tmp_path / "unpacked", split=part) for part in parts]
    expected = [theirs_of_part[i] for theirs_of_part in theirs for i in range(len(theirs_of_part))]
    ours = opened(DTD, raw, split)
    assert ours.labels.dtype == np.int64
    assert ours.labels.tolist() == [label for _, label in expected]
    for i, (image, _) in enumerate(expected):
        assert np.array_equal(pixels(ours.reader(i)), np.array(image))
    assert ours.own_validation == (len(theirs[1]) if split == "train" else 0)


def test_images_come_in_the_order_of_the_lists_of_the_first_partition(raw: Path) -> None:
    files = textures()
    for split, listed in (("train", LISTS["train1"] + LISTS["val1"]), ("test", LISTS["test1"])):
        expected = {
            f"dtd/images/{name}": (CLASSES.index(name.split("/")[0]), files[f"dtd/images/{name}"]) for name in listed
        }
        assert list(contents(opened(DTD, raw, split)).items()) == list(expected.items())  # type: ignore[arg-type]


def test_the_archive_is_unzipped_once_and_no_further(raw: Path) -> None:
    archive = raw / "dtd" / "dtd-r1.0.1.tar.gz"
    files = DTD.files(raw, "train")
    unzipped = raw / "dtd" / "dtd-r1.0.1.tar"
    assert [file.path for file in files] == [archive, unzipped]
    assert unzipped.read_bytes() == gzip.decompress(archive.read_bytes())
    assert [file.sha256 for file in files] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in (archive, unzipped)
    ]
    before = unzipped.stat()
    assert DTD.files(raw, "test") == files
    assert (unzipped.stat().st_mtime_ns, unzipped.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert {path for path in raw.rglob("*") if path.is_file() and path.suffix != ".lock"} == {archive, unzipped}
    assert DTD.on_disk(raw) == ([archive], [])


def test_an_absent_archive_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tar_of(textures(), "w:gz")
    with served(tmp_path / "server", monkeypatch) as address:
        url = f"{address}dtd-r1.0.1.tar.gz"
        monkeypatch.setattr(dtd, "REMOTE", published(dtd.REMOTE, content, tmp_path / "server", (url,)))
        assert DTD.on_disk(tmp_path) == ([], [tmp_path / "dtd" / "dtd-r1.0.1.tar.gz"])
        split = DTD.open([file.path for file in DTD.files(tmp_path, "test")], "test")
    assert isinstance(split, EncodedSplit)
    assert len(split.labels) == len(LISTS["test1"])


def test_what_is_fetched_is_what_torchvision_fetches() -> None:
    assert dtd.REMOTE.md5 == datasets.DTD._MD5
    assert dtd.REMOTE.urls == (datasets.DTD._URL,)


WHOLE = tar_of(textures(), "w:gz")


@pytest.mark.parametrize(
    "content",
    [WHOLE[: len(WHOLE) // 2], b"<html>log in</html>", WHOLE[:-8] + bytes(8), WHOLE[:100] + b"\xff" * 50 + WHOLE[150:]],
    ids=["half", "page", "checksum", "garbage"],
)
def test_an_archive_that_cannot_be_unzipped_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    path = publish(monkeypatch, tmp_path, content)
    assert message_of(lambda: DTD.files(tmp_path, "train")).startswith(f"{path}: not a whole archive (")
    assert [left for left in path.parent.iterdir() if left.suffix != ".lock"] == [path]


def test_an_unzipped_archive_that_is_damaged_is_to_be_deleted(raw: Path) -> None:
    unzipped = DTD.files(raw, "train")[1].path
    unzipped.write_bytes(unzipped.read_bytes()[:3000])
    message = message_of(lambda: opened(DTD, raw, "train"))
    assert message.startswith(f"{unzipped}: not a whole tar archive (")
    assert "delete it" in message
    unzipped.unlink()
    assert len(opened(DTD, raw, "train").labels) == len(LISTS["train1"] + LISTS["val1"])


@pytest.mark.parametrize(
    ("changed", "split", "named"),
    [
        ({"dtd/labels/train1.txt": None}, "train", "dtd/labels/train1.txt"),
        ({"dtd/labels/val1.txt": None}, "train", "dtd/labels/val1.txt"),
        ({"dtd/images/banded/banded_0101.jpg": None}, "train", "dtd/images/banded/banded_0101.jpg"),
        ({"dtd/labels/val1.txt": b"../../../evil.jpg\n"}, "train", "evil.jpg"),
        ({"dtd/labels/train1.txt": b"banded/banded_0101.jpg\n"}, "train", "blotchy"),
        ({"dtd/labels/train1.txt": b"\xff\xfe"}, "train", "utf-8"),
    ],
)
def test_lists_that_do_not_fit_the_archive_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, bytes | None], split: Split, named: str
) -> None:
    files = {name: content for name, content in (textures() | changed).items() if content is not None}
    publish(monkeypatch, tmp_path, tar_of(files, "w:gz"))
    message = message_of(lambda: opened(DTD, tmp_path, split))
    assert message.startswith(f"{tmp_path / 'dtd' / 'dtd-r1.0.1.tar'}: ")
    assert named in message
    assert "delete it and fetch it again" in message


@pytest.mark.parametrize("classes", [None, [1]])
def test_a_table_of_it_holds_what_pillow_decodes(raw: Path, tmp_path: Path, classes: list[int] | None) -> None:
    image_format = ImageFormat(channels=1, height=16, width=24, n_bits=6, fit="resize")
    plan_table(ImageSelection.of("dtd", classes), "train", image_format, raw).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    wanted = CLASSES if classes is None else [CLASSES[k] for k in classes]
    listed = [name for name in LISTS["train1"] + LISTS["val1"] if name.split("/")[0] in wanted]
    assert table.names == [f"dtd/images/{name}" for name in listed]
    images, labels = table[:]
    assert labels.tolist() == [CLASSES.index(name.split("/")[0]) for name in listed]
    assert (table.record.count, table.record.own_validation) == ((9, 3) if classes is None else (3, 1))
    assert set(table.record.source_files) == {"dtd-r1.0.1.tar.gz", "dtd-r1.0.1.tar"}
    for image, name in zip(images, listed, strict=True):
        decoded = torch.from_numpy(pixels(textures()[f"dtd/images/{name}"])).permute(2, 0, 1)[None]
        assert torch.equal(image, prepare(decoded, image_format)[0])

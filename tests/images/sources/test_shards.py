"""Images in tar and parquet files on disk."""

import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.decoding import UnreadableImageError
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.sources import shard_index, shards
from glow_pipeline.images.sources.folder import check_apart, check_folder
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.kept_digests import KeptDigests
from glow_pipeline.images.sources.shard_index import ShardFile
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from tests.images.conftest import wait_for_later_times
from tests.images.sources.contract import SPLITS
from tests.images.sources.folders import put
from tests.images.sources.shards import checksum, everything, image, opened, parquet, samples, selection, tar

IMAGE_FORMAT = ImageFormat(channels=1, height=4, width=4, n_bits=8, fit="resize")
NAMES = [f"{k:04}" for k in range(20)]


def test_images_of_a_tar_are_its_members(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar(samples(NAMES)))
    assert everything(tmp_path) == {f"{name}.png": (image(name), "") for name in NAMES}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_nested_and_long_names_are_read(tmp_path: Path, form: int) -> None:
    long = "/".join(["deeply", "n" * 90, "x" * 60]) if form == tarfile.USTAR_FORMAT else "d/" + "ü" * 300
    names = ["a/1", "b/c/2", long] if form == tarfile.USTAR_FORMAT else ["a/1", "b/c/2", "./3", long]
    (tmp_path / "0.tar").write_bytes(tar(samples(names), form))
    assert {name: content for name, (content, _) in everything(tmp_path).items()} == {
        f"{name.removeprefix('./')}.png": image(name) for name in names
    }


def test_labels_are_those_beside_the_images(tmp_path: Path) -> None:
    members = [
        ("1.cls", b"7\n"),
        ("1.png", image("1")),
        ("b/2.png", image("2")),
        ("b/2.json", json.dumps({"label": 10, "other": 3}).encode()),
        ("3.jpg", image("3")),
        ("3.txt", b"a caption is no class"),
        ("3.seg.png", image("4")),
        ("3.cls", b"9"),
    ]
    (tmp_path / "0.tar").write_bytes(tar(members))
    split = opened(selection(tmp_path, tmp_path), "test")
    assert split.class_names == ["7", "9", "10"]
    assert {split.reader.name(k): int(label) for k, label in enumerate(split.labels)} == {
        "1.png": 0,
        "b/2.png": 2,
        "3.jpg": 1,
    }


@pytest.mark.parametrize("label", [b"", b"\xff\xfe", b"x" * 5000])
def test_label_that_cannot_be_read_is_none(tmp_path: Path, label: bytes) -> None:
    (tmp_path / "0.tar").write_bytes(tar([("1.png", image("1")), ("1.cls", label), *samples(["2"], {"2": "cats"})]))
    assert {name: found for name, (_, found) in everything(tmp_path).items()} == {
        "1.png": "unlabelled",
        "2.png": "cats",
    }


def test_names_with_dots_are_images_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar(samples(["1.2.840.1", "1.2.840.2"])))
    assert set(everything(tmp_path)) == {"1.2.840.1.png", "1.2.840.2.png"}


def test_shards_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        (tmp_path / f"x{number}.tar").write_bytes(tar(samples([f"{number}b", f"{number}a"])))
    assert list(everything(tmp_path)) == ["1b.png", "1a.png", "9b.png", "9a.png", "10b.png", "10a.png"]


def test_hidden_members_and_other_files_are_left_out(tmp_path: Path) -> None:
    members = [*samples(["1"]), ("__MACOSX/._1.png", b"x"), ("._1.png", b"x"), ("notes.md", b"x")]
    (tmp_path / "0.tar").write_bytes(tar(members))
    (tmp_path / "index.json").write_text("{}")
    (tmp_path / ".0.tar").write_bytes(b"")
    assert list(everything(tmp_path)) == ["1.png"]


def test_a_shard_may_be_named_itself(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar(samples(["1"])))
    (tmp_path / "1.tar").write_bytes(tar(samples(["2"])))
    assert list(everything(tmp_path / "1.tar")) == ["2.png"]


@pytest.mark.parametrize("plain", [False, True])
def test_images_of_a_parquet_file_are_its_rows(tmp_path: Path, plain: bool) -> None:
    content = parquet([image(name) for name in NAMES], [k % 3 for k in range(20)], plain=plain)
    (tmp_path / "train.parquet").write_bytes(content)
    assert everything(tmp_path) == {f"train.parquet#{k}": (image(name), str(k % 3)) for k, name in enumerate(NAMES)}


def test_class_labels_have_their_names(tmp_path: Path) -> None:
    labels = [1, 0, -1]
    content = parquet(
        [image(name) for name in "abc"], labels, names=["a.png", "b.png", "c.png"], class_names=["dog", "cat"]
    )
    (tmp_path / "0.parquet").write_bytes(content)
    assert {name: found for name, (_, found) in everything(tmp_path).items()} == {
        "0.parquet#0 a.png": "cat",
        "0.parquet#1 b.png": "dog",
        "0.parquet#2 c.png": "unlabelled",
    }


def test_only_column_of_bytes_has_the_images(tmp_path: Path) -> None:
    (tmp_path / "0.parquet").write_bytes(parquet([image("a")], plain=True, column="jpg"))
    assert list(everything(tmp_path).values()) == [(image("a"), "")]


def test_row_without_bytes_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "0.parquet").write_bytes(parquet([image("a"), None], names=["a.png", "b.png"]))
    split = opened(selection(tmp_path, tmp_path), "test")
    assert split.reader(0) == image("a")
    with pytest.raises(UnreadableImageError, match="no bytes in its row"):
        split.reader(1)


def test_parquet_rows_are_read_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "0.parquet").write_bytes(parquet([image(name) for name in NAMES]))
    (tmp_path / "1.tar").write_bytes(tar(samples(NAMES)))
    split = opened(selection(tmp_path, tmp_path), "test")
    reader = pickle.loads(pickle.dumps(split.reader))
    for k in np.random.default_rng(0).permutation(40):
        assert reader(int(k)) == image(NAMES[k % 20])


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("0.tar", b"no tar" * 200, "not a complete tar or parquet file"),
        ("0.tar", tar(samples(NAMES))[:5000], "not a complete tar or parquet file"),
        ("0.tar", tar([("1.png", b"x" * 512)])[:1024], "it ends at byte 1,024 without the mark of its end"),
        ("0.tar", tar([]), "there is no image in its 1 .tar and .parquet files"),
        ("0.tar", tar([("notes.txt", b"x")]), "there is no image in its 1 .tar and .parquet files"),
        ("0.parquet", parquet([image("a")])[:-20], "not a complete tar or parquet file"),
        ("0.zip", b"", r"there is no \.tar or \.parquet file in it"),
    ],
)
def test_folder_without_images_is_one_line(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GlowPipelineError, match=problem) as refused:
        opened(selection(tmp_path, tmp_path), "test")
    assert "\n" not in str(refused.value)


def test_damaged_member_is_unreadable_and_no_more(tmp_path: Path) -> None:
    members = samples(NAMES)
    members[3] = (members[3][0], members[3][1][:40])
    members[5] = (members[5][0], b"")
    (tmp_path / "0.tar").write_bytes(tar(members))
    plan_table(selection(tmp_path, tmp_path), "test", IMAGE_FORMAT, tmp_path, "skip").write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    assert len(table) == 18
    assert [name for name, _ in table.unreadable()] == ["0003.png", "0005.png"]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_table_has_the_bits_of_a_folder(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "folder", *(f"{k % 2}/{name}.png" for k, name in enumerate(NAMES)))
    files = sorted((tmp_path / "folder").rglob("*.png"))
    labels = [file.parent.name for file in files]
    (tmp_path / "shards").mkdir()
    for number, part in enumerate((slice(0, 7), slice(7, None))):
        contents = [file.read_bytes() for file in files[part]]
        if kind == "parquet":
            content = parquet(contents, labels[part])
        else:
            members = zip(files[part], contents, labels[part], strict=True)
            content = tar(
                member
                for file, read, label in members
                for member in ((file.name, read), (f"{file.stem}.cls", label.encode()))
            )
        (tmp_path / "shards" / f"{number}.{kind}").write_bytes(content)
    for split in SPLITS:
        for source in ("folder", "shards"):
            images = selection(tmp_path / source, source=source)
            plan_table(images, split, IMAGE_FORMAT, tmp_path).write(tmp_path / f"{source} {split}")
        for name in ("images.npy", "labels.npy", "content.npy"):
            of_folder, of_shards = (tmp_path / f"{source} {split}" / name for source in ("folder", "shards"))
            assert of_folder.read_bytes() == of_shards.read_bytes(), f"{split} {name}"


def test_checksum_follows_contents_names_and_labels(tmp_path: Path) -> None:
    found = set()
    for members in (
        samples(["1", "2"]),
        samples(["1", "3"]),
        samples(["2", "1"]),
        [("1.png", image("1")), ("2.png", image("other"))],
        samples(["1", "2"], {"1": "a", "2": "b"}),
        samples(["1", "2"], {"1": "b", "2": "a"}),
    ):
        (tmp_path / "0.tar").write_bytes(tar(members))
        found.add(checksum(tmp_path))
    assert len(found) == 6


def test_test_shards_inside_are_not_trained_on(tmp_path: Path) -> None:
    for folder, names in (("", ["1", "2"]), ("test", ["3"])):
        (tmp_path / folder).mkdir(exist_ok=True)
        labels = {name: f"class {name}" for name in names}
        (tmp_path / folder / "0.tar").write_bytes(tar(samples(names, labels)))
    images = selection(tmp_path, tmp_path / "test")
    check_apart(images)
    train, test = opened(images, "train"), opened(images, "test")
    assert [train.reader.name(k) for k in range(len(train.labels))] == ["1.png", "2.png"]
    assert test.labels.tolist() == [2]
    assert test.class_names == ["class 1", "class 2", "class 3"]


def test_shards_are_checked_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(GlowPipelineError, match=r"ingest\.path=.*: no such folder; give one with \.tar or \.parquet"):
        check_folder(tmp_path / "none", "ingest.path", "shards")
    with pytest.raises(GlowPipelineError, match=r"there is no \.tar or \.parquet file in it"):
        check_folder(put(tmp_path / "images", "1.png"), "ingest.path", "shards")
    (tmp_path / "0.tar").write_bytes(b"")
    check_folder(tmp_path, "ingest.path", "shards")


def test_index_is_kept_until_the_shard_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "RECENT", -60.0)
    folder, path = tmp_path / "shards", tmp_path / "shards" / "0.tar"
    folder.mkdir()
    path.write_bytes(tar(samples(["1", "2"])))
    made: list[str] = []
    make = shard_index._make_index

    def recorded(shard: ShardFile) -> "pa.Table":
        made.append(shard.name)
        return make(shard)

    monkeypatch.setattr(shard_index, "_make_index", recorded)

    def names() -> list[str]:
        looks = FolderLooks(KeptDigests(tmp_path / "listings"))
        split = opened(selection(folder, folder), "test", looks)
        return [split.reader.name(k) for k in range(len(split.labels))]

    assert names() == names() == ["1.png", "2.png"]
    assert made == ["0.tar"]
    before = path.stat()
    wait_for_later_times(path, tmp_path / "clock")
    path.write_bytes(tar(samples(["1", "3"])))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert names() == ["1.png", "3.png"]
    (kept,) = (tmp_path / "listings").iterdir()
    kept.write_bytes(kept.read_bytes()[:-10])
    assert names() == ["1.png", "3.png"]
    assert len(made) == 3


def test_row_groups_are_read_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "0.parquet").write_bytes(parquet([image(name) for name in NAMES], group=4))
    split = opened(selection(tmp_path, tmp_path), "test")
    read = []
    for k in range(20):
        split.reader(k)
        file = split.reader._opened[2]  # type: ignore[attr-defined]
        read.append((file._group, len(file._images)))
    assert read == [(k // 4, 4) for k in range(20)]


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GlowPipelineError, match="absent: no such folder"):
        opened(selection(tmp_path / "absent", tmp_path / "absent"), "test")


def test_shard_without_permission_or_deleted_is_named(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar(samples(["1"])))
    split = opened(selection(tmp_path, tmp_path), "test")
    (tmp_path / "0.tar").unlink()
    with pytest.raises(UnreadableImageError, match="No such file"):
        split.reader(0)


def test_compressed_tar_is_no_shard(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz"):
        pass
    (tmp_path / "0.tar").write_bytes(stream.getvalue())
    with pytest.raises(GlowPipelineError, match="not a complete tar or parquet file"):
        opened(selection(tmp_path, tmp_path), "test")


def test_suffixes_may_be_in_either_case(tmp_path: Path) -> None:
    (tmp_path / "0.TAR").write_bytes(tar(samples(["1"])))
    (tmp_path / "1.Parquet").write_bytes(parquet([image("2")]))
    assert [content for content, _ in everything(tmp_path).values()] == [image("1"), image("2")]


def test_parquet_file_damaged_after_its_index_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "0.parquet").write_bytes(parquet([image("a")]))
    split = opened(selection(tmp_path, tmp_path), "test")
    (tmp_path / "0.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UnreadableImageError, match="damaged"):
        split.reader(0)

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources import tiny_imagenet
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.sources.tiny_imagenet import TINYIMAGENET
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from tests.images.sources.archive_files import contents, jpeg, message_of, opened, published, served, zip_of

ROOT = "tiny-imagenet-200"
# As in the true archive, not in their order; a class is the place among the sorted ones.
WNIDS = ["n02124075", "n04067472", "n01443537"]
LABELS = {"n01443537": 0, "n02124075": 1, "n04067472": 2}
TRAIN = {f"{ROOT}/train/{wnid}/images/{wnid}_{i}.JPEG": (wnid, i) for wnid in WNIDS for i in range(2)}
VAL = {"val_0.JPEG": "n04067472", "val_2.JPEG": "n01443537", "val_10.JPEG": "n04067472", "val_1.JPEG": "n02124075"}


def encoded(wnid: str, number: int) -> bytes:
    # Some of the true ones are grey.
    return jpeg(10 * WNIDS.index(wnid) + number, (64, 64), "L" if number == 1 else "RGB")


def tiny() -> dict[str, bytes]:
    """A small Tiny ImageNet, file by file."""
    files = {f"{ROOT}/": b"", f"{ROOT}/train/": b""}
    for wnid in WNIDS:
        files[f"{ROOT}/train/{wnid}/"] = b""
        files[f"{ROOT}/train/{wnid}/{wnid}_boxes.txt"] = f"{wnid}_0.JPEG\t0\t10\t63\t58\n".encode()
        files[f"{ROOT}/train/{wnid}/images/"] = b""
        files |= {name: encoded(*which) for name, which in TRAIN.items() if which[0] == wnid}
    files[f"{ROOT}/val/val_annotations.txt"] = "".join(
        f"{name}\t{wnid}\t0\t32\t44\t62\n" for name, wnid in VAL.items()
    ).encode()
    files |= {f"{ROOT}/val/images/{name}": encoded(VAL[name], 5 + i) for i, name in enumerate(sorted(VAL))}
    files[f"{ROOT}/wnids.txt"] = "\n".join(WNIDS).encode()
    files[f"{ROOT}/words.txt"] = b"n01443537\tgoldfish, Carassius auratus\nn00001740\tentity\n"
    files[f"{ROOT}/test/images/test_0.JPEG"] = jpeg(99)
    return files


def publish(monkeypatch: pytest.MonkeyPatch, raw: Path, content: bytes) -> Path:
    monkeypatch.setattr(tiny_imagenet, "REMOTE", published(tiny_imagenet.REMOTE, content, raw / "tinyimagenet"))
    return raw / "tinyimagenet" / "tiny-imagenet-200.zip"


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    publish(monkeypatch, tmp_path, zip_of(tiny()))
    return tmp_path


def test_training_images_have_the_class_of_their_folder(raw: Path) -> None:
    split = opened(TINYIMAGENET, raw, "train")
    assert split.labels.dtype == np.int64
    assert split.own_validation == 0
    assert contents(split) == {name: (LABELS[wnid], encoded(wnid, i)) for name, (wnid, i) in TRAIN.items()}


def test_images_for_testing_are_those_for_validation_with_their_annotated_class(raw: Path) -> None:
    split = opened(TINYIMAGENET, raw, "test")
    assert split.own_validation == 0
    files = tiny()
    expected = {f"{ROOT}/val/images/{name}": LABELS[wnid] for name, wnid in VAL.items()}
    assert contents(split) == {name: (label, files[name]) for name, label in expected.items()}


def test_the_archive_is_all_there_is_and_nothing_is_unpacked(raw: Path) -> None:
    archive = raw / "tinyimagenet" / "tiny-imagenet-200.zip"
    for split in ("train", "test"):
        assert [file.path for file in TINYIMAGENET.files(raw, split)] == [archive]
        opened(TINYIMAGENET, raw, split)
    assert [path for path in raw.rglob("*") if path.is_file() and path.suffix != ".lock"] == [archive]
    assert TINYIMAGENET.on_disk(raw) == ([archive], [])


def test_an_absent_archive_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = zip_of(tiny())
    with served(tmp_path / "server", monkeypatch) as address:
        url = f"{address}tiny-imagenet-200.zip"
        remote = published(tiny_imagenet.REMOTE, content, tmp_path / "server", (url,))
        monkeypatch.setattr(tiny_imagenet, "REMOTE", remote)
        assert TINYIMAGENET.on_disk(tmp_path)[0] == []
        (file,) = TINYIMAGENET.files(tmp_path, "train")
    assert file.path == tmp_path / "tinyimagenet" / "tiny-imagenet-200.zip"
    assert file.path.read_bytes() == content


def test_an_archive_that_is_not_the_published_one_is_not_used(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raw / "tinyimagenet" / "tiny-imagenet-200.zip"
    path.write_bytes(zip_of(tiny() | {f"{ROOT}/words.txt": b""}))
    assert message_of(lambda: TINYIMAGENET.files(raw, "train")).startswith(f"{path}: md5 is ")


WNIDS_TXT, ANNOTATIONS = f"{ROOT}/wnids.txt", f"{ROOT}/val/val_annotations.txt"


@pytest.mark.parametrize(
    ("changed", "split", "named"),
    [
        ({WNIDS_TXT: None}, "train", WNIDS_TXT),
        ({ANNOTATIONS: None}, "test", ANNOTATIONS),
        ({WNIDS_TXT: b"n01443537\nn02124075\n"}, "train", "n04067472"),
        ({ANNOTATIONS: b"val_0.JPEG\tn99999999\t0\t0\t9\t9\n"}, "test", "n99999999"),
        ({ANNOTATIONS: b"val_0.JPEG\n"}, "test", ""),
        ({ANNOTATIONS: b"\xff\xfe"}, "test", ""),
        ({f"{ROOT}/train/../../../evil.JPEG": b"evil"}, "train", ".."),
        ({f"{ROOT}/train/loose.JPEG": b"loose"}, "train", "loose.JPEG"),
    ],
)
def test_lists_that_do_not_fit_the_archive_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, bytes | None], split: Split, named: str
) -> None:
    files = {name: content for name, content in (tiny() | changed).items() if content is not None}
    path = publish(monkeypatch, tmp_path, zip_of(files))
    message = message_of(lambda: opened(TINYIMAGENET, tmp_path, split))
    assert message.startswith(f"{path}: not a whole Tiny ImageNet archive (")
    assert named in message
    assert message.endswith("fetch it again")
    assert not list(tmp_path.rglob("evil*"))


def test_a_damaged_archive_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = zip_of(tiny())
    # The content of wnids.txt follows its header of 30 bytes and its name.
    at = whole.index(b"PK\x03\x04", whole.index(WNIDS_TXT.encode()) - 30) + 30 + len(WNIDS_TXT)
    for damaged in (whole[: len(whole) // 2], b"", whole[:at] + b"\xff\xff\xff" + whole[at + 3 :]):
        path = publish(monkeypatch, tmp_path, damaged)
        assert message_of(lambda: opened(TINYIMAGENET, tmp_path, "test")).startswith(f"{path}: ")


def test_an_annotated_image_that_is_not_in_the_archive_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tiny()
    del files[f"{ROOT}/val/images/val_2.JPEG"]
    publish(monkeypatch, tmp_path, zip_of(files))
    image_format = ImageFormat(channels=3, height=64, width=64, n_bits=8, fit="resize")
    plan = plan_table(ImageSelection.of("tinyimagenet"), "test", image_format, tmp_path)
    message = message_of(lambda: plan.write(tmp_path / "table"))
    assert f"{ROOT}/val/images/val_2.JPEG (not in the archive)" in message


@pytest.mark.parametrize("classes", [None, [0, 2]])
def test_a_table_of_it_holds_what_pillow_decodes(raw: Path, tmp_path: Path, classes: list[int] | None) -> None:
    image_format = ImageFormat(channels=3, height=32, width=16, n_bits=5, fit="pad")
    plan_table(ImageSelection.of("tinyimagenet", classes), "train", image_format, raw).write(tmp_path / "table")
    table = ImageTable(tmp_path / "table")
    expected = [(name, *which) for name, which in TRAIN.items() if classes is None or LABELS[which[0]] in classes]
    assert table.names == [name for name, _, _ in expected]
    images, labels = table[:]
    assert labels.tolist() == [LABELS[wnid] for _, wnid, _ in expected]
    assert torch.equal(table.labels, labels)
    for image, (_, wnid, number) in zip(images, expected, strict=True):
        pixels = np.array(Image.open(io.BytesIO(encoded(wnid, number))).convert("RGB"))
        assert torch.equal(image, prepare(torch.from_numpy(pixels).permute(2, 0, 1)[None], image_format)[0])

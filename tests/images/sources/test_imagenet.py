import hashlib
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from glow_pipeline.images.sources.imagenet import IMAGENET
from glow_pipeline.images.sources.source import EncodedSplit, Split
from tests.images.sources.archive_files import tar_of
from tests.images.sources.conftest import Publish
from tests.images.sources.contract import error_of, images_of, opened
from tests.images.sources.miniatures.imagenet import (
    ARCHIVES,
    DEVKIT,
    META,
    TRUTH,
    devkit,
    meta_mat,
    miniature,
    train_images,
    train_tar,
    val_images,
)

SITE = "https://image-net.org/"
TRAIN, VAL = ARCHIVES["train"], ARCHIVES["test"]


@pytest.mark.parametrize(("split", "theirs"), [("train", "train"), ("test", "val")])
def test_imagenet_is_as_torchvision_reads_it(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: Split, theirs: str
) -> None:
    raw, unpacked = publish(miniature().files), tmp_path / "unpacked"
    shutil.copytree(raw / "imagenet", unpacked)
    md5 = {
        kind: (Path(name).name, hashlib.md5((raw / name).read_bytes()).hexdigest())
        for kind, name in (("devkit", DEVKIT), ("train", TRAIN), ("val", VAL))
    }
    monkeypatch.setattr(datasets.imagenet, "ARCHIVE_META", md5)
    dataset = datasets.ImageNet(unpacked, split=theirs)
    expected = {Path(path).name: i for i, (path, _) in enumerate(dataset.samples)}
    ours = opened(IMAGENET, raw, split)
    assert isinstance(ours, EncodedSplit)
    names = [ours.reader.name(i).rpartition("/")[2] for i in range(len(ours.labels))]
    assert sorted(names) == sorted(expected)
    for name, label, image in zip(names, ours.labels, images_of(ours), strict=True):
        their_image, their_label = dataset[expected[name]]
        assert label == their_label
        assert np.array_equal(np.array(Image.fromarray(image).convert("RGB")), np.array(their_image))


def other_mat(**arrays: object) -> bytes:
    file = io.BytesIO()
    savemat(file, arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "changed",
    [
        {META: None},
        {TRUTH: None},
        {META: b""},
        {META: b"not a mat file, but long enough to have the header of one" * 5},
        {META: other_mat(something=np.arange(3))},
        {META: other_mat(synsets=np.arange(3))},
        {META: meta_mat(("ILSVRC2012_ID",))},
        {TRUTH: b"1\ntwo\n"},
    ],
    ids=["no table", "no truth", "empty", "other file", "no synsets", "numbers", "no fields", "words"],
)
def test_incomplete_development_kit_is_refused(publish: Publish, changed: dict[str, bytes | None]) -> None:
    kit = {name: content for name, content in (devkit() | changed).items() if content is not None}
    raw = publish(miniature().files | {DEVKIT: tar_of(kit, "w:gz")})
    message = error_of(lambda: opened(IMAGENET, raw, "test"))
    assert message.startswith(f"{raw / DEVKIT}: not a complete development kit (")
    assert message.endswith("fetch it again")


def test_development_kit_without_gzip_is_refused(publish: Publish) -> None:
    raw = publish(miniature().files | {DEVKIT: tar_of(devkit())})
    message = error_of(lambda: opened(IMAGENET, raw, "train"))
    assert message.startswith(f"{raw / DEVKIT}: not a complete development kit (")


FEWER = dict(list(val_images().items())[1:])


@pytest.mark.parametrize(
    ("split", "changed", "named"),
    [
        ("train", {TRAIN: train_tar(train_images() | {"n99999999.tar": {"n99999999_1.JPEG": b"x"}})}, "n99999999"),
        ("train", {TRAIN: train_tar(train_images() | {"n00001740.tar": {"n00001740_1.JPEG": b"x"}})}, "n00001740"),
        ("train", {TRAIN: tar_of({"../../evil.JPEG": b"evil"})}, "evil.JPEG"),
        ("test", {VAL: tar_of(FEWER)}, ""),
        ("test", {VAL: tar_of(val_images() | {"ILSVRC2012_val_00000007.JPEG": b"x"})}, ""),
        ("test", {DEVKIT: tar_of(devkit() | {TRUTH: b"1\n2\n3\n1\n2\n1001\n"}, "w:gz")}, "1001"),
    ],
    ids=["unknown class", "group of classes", "no class", "too few", "too many", "group in the truth"],
)
def test_archive_and_kit_that_differ_are_refused(
    publish: Publish, split: Split, changed: dict[str, bytes], named: str
) -> None:
    raw = publish(miniature().files | changed)
    message = error_of(lambda: opened(IMAGENET, raw, split))
    assert message.startswith(f"{raw / ARCHIVES[split]}: does not fit {Path(DEVKIT).name} (")
    assert named in message
    assert SITE in message
    assert not list(raw.parent.rglob("evil*"))


def test_damaged_inner_archive_is_refused(publish: Publish) -> None:
    inner = {name: tar_of(images) for name, images in train_images().items()}
    cut = tar_of(inner | {"n01440764.tar": inner["n01440764.tar"][:700]})
    raw = publish(miniature().files | {TRAIN: cut})
    message = error_of(lambda: opened(IMAGENET, raw, "train"))
    assert message.startswith(f"{raw / TRAIN}: not a complete tar archive (")

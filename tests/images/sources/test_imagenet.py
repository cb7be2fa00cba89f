import hashlib
import io
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from glow_pipeline.images.sources import imagenet
from glow_pipeline.images.sources.imagenet import IMAGENET
from glow_pipeline.images.sources.source import Split
from tests.images.sources.archive_files import contents, jpeg, message_of, opened, published, tar_of

# ILSVRC2012_ID, WNID, words, number of children: the numbers are not in the order of the WordNet ids, and of the
# synsets the last two are groups of the others.
SYNSETS = [
    (1, "n02119789", "kit fox, Vulpes macrotis", 0),
    (2, "n01440764", "tench, Tinca tinca", 0),
    (3, "n02100735", "English setter", 0),
    (1001, "n00001740", "entity", 2),
    (1002, "n02083346", "canine, canid", 2),
]
# As torchvision and everybody else has them: WordNet ids, sorted.
LABELS = {"n01440764": 0, "n02100735": 1, "n02119789": 2}
GROUND_TRUTH = [3, 1, 1, 2, 3, 2]
DEVKIT, TRAIN, VAL = "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
META, TRUTH = (f"ILSVRC2012_devkit_t12/data/{name}" for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"))
SITE = "https://image-net.org/"


def meta_mat(fields: tuple[str, ...] = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")) -> bytes:
    """The table of synsets as MATLAB has it: a column of structs."""
    rest = ("children", "wordnet_height", "num_train_images")
    synsets = np.zeros((len(SYNSETS), 1), dtype=[(field, object) for field in (*fields, *rest)])
    for i, (number, wnid, words, n_children) in enumerate(SYNSETS):
        values = (float(number), wnid, words, "a thing", float(n_children))[: len(fields)]
        children = np.array([1.0, 2.0]) if n_children else np.empty((0, 0))
        synsets[i, 0] = (*values, children, float(n_children > 0), 0.0 if n_children else 1300.0)
    file = io.BytesIO()
    savemat(file, {"synsets": synsets}, do_compression=True)
    return file.getvalue()


def devkit() -> dict[str, bytes]:
    return {
        "ILSVRC2012_devkit_t12/": b"",
        "ILSVRC2012_devkit_t12/readme.txt": b"ImageNet Large Scale Visual Recognition Challenge 2012\n",
        "ILSVRC2012_devkit_t12/data/": b"",
        META: meta_mat(),
        TRUTH: "".join(f"{number}\n" for number in GROUND_TRUTH).encode(),
    }


def train_images() -> dict[str, dict[str, bytes]]:
    """By archive; neither these nor the images in them are sorted."""
    return {
        f"{wnid}.tar": {f"{wnid}_{i}.JPEG": jpeg(100 * number + i, (10 + i, 20)) for i in (18, 2, 7)[: 1 + number]}
        for number, wnid, _, n_children in SYNSETS
        if not n_children
    }


def train_tar(images: Mapping[str, Mapping[str, bytes]]) -> bytes:
    return tar_of({name: tar_of(inner) for name, inner in images.items()})


def val_images() -> dict[str, bytes]:
    """As in the true archive, in no order."""
    order = np.random.default_rng(2).permutation(len(GROUND_TRUTH)) + 1
    assert order.tolist() != sorted(order)
    return {f"ILSVRC2012_val_{i:08}.JPEG": jpeg(int(i)) for i in order}


def publish(monkeypatch: pytest.MonkeyPatch, raw: Path, **changed: bytes) -> None:
    """The three archives, or others in their places."""
    folder = raw / "imagenet"
    kit = changed.get("devkit", tar_of(devkit(), "w:gz"))
    monkeypatch.setattr(imagenet, "DEVKIT", published(imagenet.DEVKIT, kit, folder))
    train, val = changed.get("train", train_tar(train_images())), changed.get("val", tar_of(val_images()))
    replaced = {
        "train": published(imagenet.ARCHIVES["train"], train, folder),
        "test": published(imagenet.ARCHIVES["test"], val, folder),
    }
    monkeypatch.setattr(imagenet, "ARCHIVES", replaced)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    publish(monkeypatch, tmp_path)
    return tmp_path


def pixels(encoded: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.array(Image.open(io.BytesIO(encoded)).convert("RGB"))


@pytest.mark.parametrize(("split", "theirs"), [("train", "train"), ("test", "val")])
def test_images_and_classes_are_those_of_torchvision(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: Split, theirs: str
) -> None:
    unpacked = tmp_path / "unpacked"
    shutil.copytree(raw / "imagenet", unpacked)
    md5 = {
        kind: (name, hashlib.md5((unpacked / name).read_bytes()).hexdigest())
        for kind, name in (("devkit", DEVKIT), ("train", TRAIN), ("val", VAL))
    }
    monkeypatch.setattr(datasets.imagenet, "ARCHIVE_META", md5)
    dataset = datasets.ImageNet(unpacked, split=theirs)
    expected = {Path(path).name: i for i, (path, _) in enumerate(dataset.samples)}

    ours = opened(IMAGENET, raw, split)
    assert ours.labels.dtype == np.int64
    assert ours.own_validation == 0
    found = contents(ours)
    assert {name.rpartition("/")[2] for name in found} == set(expected)
    assert len(found) == len(expected)
    for name, (label, encoded) in found.items():
        image, their_label = dataset[expected[name.rpartition("/")[2]]]
        assert label == their_label
        assert np.array_equal(pixels(encoded), np.array(image))


def test_training_images_come_in_the_order_of_the_archives(raw: Path) -> None:
    expected = [
        (f"{archive}/{name}", (LABELS[archive.removesuffix(".tar")], content))
        for archive, images in train_images().items()
        for name, content in images.items()
    ]
    assert list(contents(opened(IMAGENET, raw, "train")).items()) == expected


def test_images_for_testing_come_in_the_order_of_the_ground_truth(raw: Path) -> None:
    wnid_of = {number: wnid for number, wnid, _, _ in SYNSETS}
    files = val_images()
    expected = [(name, (LABELS[wnid_of[k]], files[name])) for name, k in zip(sorted(files), GROUND_TRUTH, strict=True)]
    assert list(contents(opened(IMAGENET, raw, "test")).items()) == expected


@pytest.mark.parametrize(("split", "other"), [("train", VAL), ("test", TRAIN)])
def test_the_archive_of_the_other_split_is_not_asked_for(raw: Path, split: Split, other: str) -> None:
    folder = raw / "imagenet"
    (folder / other).unlink()
    there = [folder / DEVKIT, folder / (TRAIN if split == "train" else VAL)]
    assert [file.path for file in IMAGENET.files(raw, split)] == there
    assert IMAGENET.on_disk(raw) == (there, [folder / other])
    opened(IMAGENET, raw, split)
    assert {path for path in raw.rglob("*") if path.is_file() and path.suffix != ".lock"} == set(there)


@pytest.mark.parametrize(("split", "absent"), [("train", DEVKIT), ("train", TRAIN), ("test", VAL)])
def test_an_absent_archive_is_an_error_that_says_where_to_get_it(raw: Path, split: Split, absent: str) -> None:
    path = raw / "imagenet" / absent
    path.unlink()
    message = message_of(lambda: IMAGENET.files(raw, split))
    assert message.startswith(f"{path}: missing; put {absent} there, from {SITE}")
    assert IMAGENET.manual.startswith(SITE)


def test_an_archive_that_is_not_the_published_one_is_not_used(raw: Path) -> None:
    path = raw / "imagenet" / VAL
    path.write_bytes(path.read_bytes()[:-512])
    message = message_of(lambda: IMAGENET.files(raw, "test"))
    assert message.startswith(f"{path}: md5 is {hashlib.md5(path.read_bytes()).hexdigest()}, ")
    assert SITE in message
    assert path.is_file()


def test_the_archives_are_those_of_torchvision() -> None:
    ours = {"devkit": imagenet.DEVKIT, "train": imagenet.ARCHIVES["train"], "val": imagenet.ARCHIVES["test"]}
    for kind, remote in ours.items():
        assert (remote.name, remote.md5) == datasets.imagenet.ARCHIVE_META[kind]
        assert remote.urls == ()


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
def test_a_development_kit_that_lacks_something_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, bytes | None]
) -> None:
    kit = {name: content for name, content in (devkit() | changed).items() if content is not None}
    publish(monkeypatch, tmp_path, devkit=tar_of(kit, "w:gz"))
    message = message_of(lambda: opened(IMAGENET, tmp_path, "test"))
    assert message.startswith(f"{tmp_path / 'imagenet' / DEVKIT}: not a whole development kit (")
    assert message.endswith("fetch it again")


KIT = tar_of(devkit(), "w:gz")


@pytest.mark.parametrize("content", [b"", b"<html>log in first</html>", KIT[: len(KIT) // 2], tar_of(devkit())])
def test_a_damaged_development_kit_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    publish(monkeypatch, tmp_path, devkit=content)
    message = message_of(lambda: opened(IMAGENET, tmp_path, "train"))
    assert message.startswith(f"{tmp_path / 'imagenet' / DEVKIT}: not a whole development kit (")


FEWER = dict(list(val_images().items())[1:])


@pytest.mark.parametrize(
    ("split", "changed", "named"),
    [
        ("train", {"train": train_tar(train_images() | {"n99999999.tar": {"n99999999_1.JPEG": b"x"}})}, "n99999999"),
        ("train", {"train": train_tar(train_images() | {"n00001740.tar": {"n00001740_1.JPEG": b"x"}})}, "n00001740"),
        ("train", {"train": tar_of({"../../evil.JPEG": b"evil"})}, "evil.JPEG"),
        ("test", {"val": tar_of(FEWER)}, ""),
        ("test", {"val": tar_of(val_images() | {"ILSVRC2012_val_00000007.JPEG": b"x"})}, ""),
        ("test", {"devkit": tar_of(devkit() | {TRUTH: b"1\n2\n3\n1\n2\n1001\n"}, "w:gz")}, "1001"),
    ],
    ids=["unknown class", "group of classes", "no class", "too few", "too many", "group in the truth"],
)
def test_archives_that_do_not_fit_the_development_kit_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: Split, changed: dict[str, bytes], named: str
) -> None:
    publish(monkeypatch, tmp_path, **changed)
    message = message_of(lambda: opened(IMAGENET, tmp_path, split))
    assert message.startswith(
        f"{tmp_path / 'imagenet' / (TRAIN if split == 'train' else VAL)}: does not fit {DEVKIT} ("
    )
    assert named in message
    assert SITE in message
    assert not list(tmp_path.rglob("evil*"))


def cut_inside() -> bytes:
    """A training archive that is whole itself, with an archive in it that is not."""
    inner = {name: tar_of(images) for name, images in train_images().items()}
    return tar_of(inner | {"n01440764.tar": inner["n01440764.tar"][:700]})


@pytest.mark.parametrize(
    "content", [b"", cut_inside(), train_tar(train_images())[:3000]], ids=["empty", "inside", "cut"]
)
def test_a_damaged_training_archive_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    publish(monkeypatch, tmp_path, train=content)
    message = message_of(lambda: opened(IMAGENET, tmp_path, "train"))
    assert message.startswith(f"{tmp_path / 'imagenet' / TRAIN}: not a whole tar archive (")

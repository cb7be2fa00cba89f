import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources import celeba
from glow_pipeline.images.sources.celeba import CELEBA
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.table_writer import plan_table
from tests.images.sources.archive_files import contents, jpeg, message_of, opened, published, zip_of

COUNT = 12
NAMES = [f"{i:06}.jpg" for i in range(1, COUNT + 1)]
# The true list has forty, in this order.
ATTRIBUTES = ("5_o_Clock_Shadow", "Arched_Eyebrows", "Mouth_Slightly_Open", "Smiling", "Straight_Hair", "Young")
VALUES = np.random.default_rng(0).choice([-1, 1], (COUNT, len(ATTRIBUTES)))
# 0 train, 1 validation, 2 test. In the true list they come one after another; nobody promises that.
PARTS = [0, 0, 2, 1, 0, 2, 2, 0, 1, 0, 0, 2]
ZIP, ATTR, EVAL = "img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt"
SITE = "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


def images() -> dict[str, bytes]:
    files = {f"img_align_celeba/{name}": jpeg(i, (178, 218)) for i, name in enumerate(NAMES)}
    return {"img_align_celeba/": b""} | dict(reversed(files.items()))


def attributes_txt(values: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = VALUES) -> bytes:
    """Count, header with a space at its end, and rows in which 1 has two spaces before it: as it is published."""
    rows = [f"{name} {' '.join(f'{value:>2}' for value in row)}" for name, row in zip(NAMES, values, strict=True)]
    return "\n".join([str(COUNT), f"{' '.join(ATTRIBUTES)} ", *rows, ""]).encode()


def partition_txt() -> bytes:
    return "".join(f"{name} {part}\n" for name, part in zip(NAMES, PARTS, strict=True)).encode()


def publish(monkeypatch: pytest.MonkeyPatch, raw: Path, changed: dict[str, bytes] | None = None) -> None:
    """The three files, or others in their places."""
    files = {
        ZIP: zip_of(images(), zipfile.ZIP_STORED),
        ATTR: attributes_txt(),
        EVAL: partition_txt(),
        **(changed or {}),
    }
    for constant in ("IMAGES", "ATTRIBUTES", "PARTITION"):
        remote = getattr(celeba, constant)
        monkeypatch.setattr(celeba, constant, published(remote, files[remote.name], raw / "celeba"))


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    publish(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def unpacked(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as torchvision has it; it also wants three more lists, of which nothing is used here."""
    folder = tmp_path / "unpacked"
    shutil.copytree(raw / "celeba", folder / "celeba")
    with zipfile.ZipFile(folder / "celeba" / ZIP) as archive:
        archive.extractall(folder / "celeba")
    rows = "".join(f"{name} 1\n" for name in NAMES)
    (folder / "celeba" / "identity_CelebA.txt").write_text(rows)
    for name in ("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt"):
        (folder / "celeba" / name).write_text(f"{COUNT}\nx\n{rows}")
    file_list = [
        ("", hashlib.md5((folder / "celeba" / name).read_bytes()).hexdigest(), name)
        for _, _, name in datasets.CelebA.file_list
    ]
    monkeypatch.setattr(datasets.CelebA, "file_list", file_list)
    return folder


def pixels(encoded: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.array(Image.open(io.BytesIO(encoded)))


@pytest.mark.parametrize(("split", "parts"), [("train", ("train", "valid")), ("test", ("test",))])
def test_images_and_classes_are_those_of_torchvision(
    raw: Path, unpacked: Path, split: Split, parts: tuple[str, ...]
) -> None:
    theirs = [datasets.CelebA(unpacked, split=part) for part in parts]
    expected = [
        (of_part.filename[i], int(of_part[i][1][of_part.attr_names.index("Smiling")]), np.array(of_part[i][0]))
        for of_part in theirs
        for i in range(len(of_part))
    ]
    ours = opened(CELEBA, raw, split)
    assert ours.labels.dtype == np.int64
    assert [ours.reader.name(i) for i in range(len(expected))] == [
        f"img_align_celeba/{name}" for name, _, _ in expected
    ]
    assert ours.labels.tolist() == [label for _, label, _ in expected]
    assert 0 < ours.labels.sum() < len(ours.labels)
    for i, (_, _, image) in enumerate(expected):
        assert np.array_equal(pixels(ours.reader(i)), image)
    assert ours.own_validation == (len(theirs[1]) if split == "train" else 0)


@pytest.mark.parametrize(("split", "parts"), [("train", (0, 1)), ("test", (2,))])
def test_images_are_those_that_the_partition_names_in_its_order(
    raw: Path, split: Split, parts: tuple[int, ...]
) -> None:
    numbers = [i for part in parts for i in range(COUNT) if PARTS[i] == part]
    expected = [(f"img_align_celeba/{NAMES[i]}", (int(VALUES[i, 3] > 0), jpeg(i, (178, 218)))) for i in numbers]
    assert list(contents(opened(CELEBA, raw, split)).items()) == expected


def test_only_the_one_attribute_counts(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = opened(CELEBA, raw, "train").labels
    others = -VALUES
    others[:, ATTRIBUTES.index("Smiling")] *= -1
    publish(monkeypatch, raw, {ATTR: attributes_txt(others)})
    assert np.array_equal(opened(CELEBA, raw, "train").labels, before)
    publish(monkeypatch, raw, {ATTR: attributes_txt(-VALUES)})
    assert np.array_equal(opened(CELEBA, raw, "train").labels, 1 - before)


def test_nothing_is_unpacked(raw: Path) -> None:
    there = [raw / "celeba" / name for name in (ZIP, ATTR, EVAL)]
    assert [file.path for file in CELEBA.files(raw, "train")] == there
    opened(CELEBA, raw, "train").reader(0)
    assert {path for path in raw.rglob("*") if path.is_file() and path.suffix != ".lock"} == set(there)
    assert CELEBA.on_disk(raw) == (there, [])


@pytest.mark.parametrize("absent", [ZIP, ATTR, EVAL])
def test_an_absent_file_is_an_error_that_says_where_to_get_it(raw: Path, absent: str) -> None:
    path = raw / "celeba" / absent
    path.unlink()
    message = message_of(lambda: CELEBA.files(raw, "test"))
    assert message.startswith(f"{path}: missing; put {absent} there, from ")
    assert SITE in message
    assert SITE in CELEBA.manual
    assert CELEBA.on_disk(raw)[1] == [path]


def test_the_files_are_those_of_torchvision() -> None:
    theirs = {name: md5 for _, md5, name in datasets.CelebA.file_list}
    for remote in (celeba.IMAGES, celeba.ATTRIBUTES, celeba.PARTITION):
        assert remote.md5 == theirs[remote.name]
        assert remote.urls == ()


ROWS = attributes_txt().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({ATTR: attributes_txt().replace(b"Smiling", b"Frowning")}, "Smiling"),
        ({ATTR: b"".join(ROWS[:5])}, NAMES[4]),
        ({ATTR: b"".join([*ROWS[:2], b"000001.jpg  1\n", *ROWS[3:]])}, ""),
        ({ATTR: b""}, ""),
        ({ATTR: b"\xff\xfe"}, ""),
        ({EVAL: b"000001.jpg 0\nunknown.jpg 0\n"}, "unknown.jpg"),
        ({EVAL: b"000001.jpg\n"}, ""),
        ({EVAL: b"000001.jpg train\n"}, "train"),
        ({EVAL: b"../../evil.jpg 0\n"}, "evil.jpg"),
    ],
)
def test_lists_that_do_not_fit_together_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, bytes], named: str
) -> None:
    publish(monkeypatch, tmp_path, changed)
    message = message_of(lambda: opened(CELEBA, tmp_path, "train"))
    assert message.startswith(f"{tmp_path / 'celeba' / ATTR}: does not fit {EVAL} (")
    assert named in message
    assert SITE in message


WHOLE = zip_of(images(), zipfile.ZIP_STORED)
DIRECTORY = WHOLE.index(b"PK\x01\x02")


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>too many downloads</html>", WHOLE[: len(WHOLE) // 2], WHOLE.replace(b"PK\x01\x02", b"PK\x01\x03")],
    ids=["empty", "page", "half", "directory"],
)
def test_a_damaged_archive_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    publish(monkeypatch, tmp_path, {ZIP: content})
    message = message_of(lambda: opened(CELEBA, tmp_path, "train"))
    assert message.startswith(f"{tmp_path / 'celeba' / ZIP}: not a whole zip archive (")


def test_images_that_the_archive_does_not_have_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = images()
    del files[f"img_align_celeba/{NAMES[2]}"]
    publish(monkeypatch, tmp_path, {ZIP: zip_of(files)})
    image_format = ImageFormat(channels=3, height=8, width=8, n_bits=8, fit="resize")
    plan = plan_table(ImageSelection.of("celeba"), "test", image_format, tmp_path)
    message = message_of(lambda: plan.write(tmp_path / "table"))
    assert f"img_align_celeba/{NAMES[2]} (not in the archive)" in message

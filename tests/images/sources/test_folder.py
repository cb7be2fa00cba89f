import hashlib
import io
import logging
import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.decoding import UnreadableImageError, decode
from glow_pipeline.images.image_files import suffixes
from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.source import EncodedSplit, Split
from glow_pipeline.images.sources.folder import check_apart, check_folder, folder_source, with_class_names

KINDS = {
    **dict.fromkeys((".pbm", ".pgm", ".ppm"), "PPM"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    ".bmp": "BMP",
    ".gif": "GIF",
    ".png": "PNG",
    ".webp": "WEBP",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".apng": "PNG",
    ".pnm": "PPM",
    ".pfm": "PPM",
}


def picture(level: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((3, 2), level, dtype=np.uint8)).save(stream, kind)
    return stream.getvalue()


def put(folder: Path, *names: str) -> Path:
    """Pictures of one level each, by which they can be told apart."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(int.from_bytes(hashlib.sha256(name.encode()).digest()[:1])))
    return folder


def image_set(
    path: Path,
    eval_path: Path | None = None,
    percentage: float = 10.0,
    seed: int = 0,
    classes: Sequence[int | str] | None = None,
) -> ImageSet:
    return ImageSet.of_folder(str(path), None if eval_path is None else str(eval_path), percentage, seed, classes)


def opened(images: ImageSet, split: Split = "train") -> EncodedSplit:
    """What the pipeline does: find and checksum, then open."""
    source = folder_source(images)
    result = source.open([file.path for file in source.files(Path("raw"), split)], split)
    assert isinstance(result, EncodedSplit)
    assert result.labels.dtype == np.int64
    return result


def names(split: EncodedSplit) -> list[str]:
    return [split.reader.name(index) for index in range(len(split.labels))]


def all_of(folder: Path) -> dict[str, int]:
    """Every image of a folder, by name, with its class."""
    split = opened(image_set(folder, folder), "test")
    listed = names(split)
    assert len(set(listed)) == len(listed)
    return dict(zip(listed, split.labels.tolist(), strict=True))


# What is an image, and of which class -----------------------------------------------------------


def test_images_in_a_flat_folder_are_one_class_in_the_order_of_their_names(tmp_path: Path) -> None:
    put(tmp_path, "b.png", "a.png", "C.png", "10.png", "9.png")
    assert list(all_of(tmp_path).items()) == [(name, 0) for name in ("10.png", "9.png", "C.png", "a.png", "b.png")]


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    put(tmp_path, "dogs/1.png", "cats/2.png", "cats/1.png", "Ants/1.png")
    expected = [("Ants/1.png", 0), ("cats/1.png", 1), ("cats/2.png", 1), ("dogs/1.png", 2)]
    assert list(all_of(tmp_path).items()) == expected


def test_classes_are_those_of_torchvisions_image_folder(tmp_path: Path) -> None:
    """Its documented rule, without its import of seconds: sorted names of the folders, images at any depth."""
    put(tmp_path, "b/2.png", "a/x/y/1.png", "b/z/1.png", "a/1.png", "c/q/1.png")
    classes = sorted(entry.name for entry in tmp_path.iterdir())
    paths = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")]
    assert all_of(tmp_path) == {str(path): classes.index(path.parts[0]) for path in paths}


def test_images_at_the_top_make_a_folder_flat(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "cats/1.png", "dogs/deep/1.png")
    assert list(all_of(tmp_path).items()) == [("a.png", 0), ("cats/1.png", 0), ("dogs/deep/1.png", 0)]


def test_a_folder_without_images_is_no_class(tmp_path: Path) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png")
    (tmp_path / "a_notes").mkdir()
    (tmp_path / "a_notes" / "notes.txt").write_text("no picture")
    (tmp_path / "bare" / "barer").mkdir(parents=True)
    assert all_of(tmp_path) == {"cats/1.png": 0, "dogs/1.png": 1}


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "cats/1.png", ".hidden/1.png", "cats/.thumbnails/1.png", "cats/._1.png", ".top.png")
    for name in ("README.txt", "cats/labels.csv", "cats/Thumbs.db", "cats/png", "cats/1.png.part", "cats/1.npy"):
        (tmp_path / name).write_bytes(b"no picture")
    assert all_of(tmp_path) == {"cats/1.png": 0}


def test_files_of_every_known_suffix_are_decoded_in_both_cases(tmp_path: Path) -> None:
    known = {suffix for suffix in suffixes() if suffix in KINDS}
    assert known == set(KINDS)
    for ending, kind in KINDS.items():
        (tmp_path / f"small{ending}").write_bytes(picture(120, kind))
        (tmp_path / f"LARGE{ending.upper()}").write_bytes(picture(120, kind))
    split = opened(image_set(tmp_path, tmp_path), "test")
    assert len(split.labels) == 2 * len(KINDS)
    for index in range(len(split.labels)):
        image = decode(split.reader(index))
        assert image.shape[1:] == (3, 2)
        assert abs(image.double().mean().item() - 120) < 3


def test_a_folder_may_be_called_like_an_image(tmp_path: Path) -> None:
    put(tmp_path, "cats.png/1.png", "dogs/2.png/1.png")
    assert all_of(tmp_path) == {"cats.png/1.png": 0, "dogs/2.png/1.png": 1}


def test_the_reader_gives_the_file_of_the_name_and_travels_to_other_processes(tmp_path: Path) -> None:
    put(tmp_path, *(f"{letter}/{index}.png" for letter in "ab" for index in range(4)))
    split = opened(image_set(tmp_path, percentage=40))
    reader = pickle.loads(pickle.dumps(split.reader))
    for index, name in enumerate(names(split)):
        assert reader.name(index) == name
        assert reader(index) == (tmp_path / name).read_bytes()


# Links ------------------------------------------------------------------------------------------


def test_links_are_followed(tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere", "x.png", "deep/y.png")
    folder = put(tmp_path / "images", "cats/1.png")
    (folder / "cats" / "link.png").symlink_to(elsewhere / "x.png")
    (folder / "linked").symlink_to(elsewhere)
    assert all_of(folder) == {"cats/1.png": 0, "cats/link.png": 0, "linked/x.png": 1, "linked/deep/y.png": 1}


@pytest.mark.parametrize("target", ["cats", "cats/deep", "."])
@pytest.mark.parametrize("link", ["cats/loop", "cats/deep/loop", "loop"])
def test_link_loops_end_and_give_no_image_twice_to_a_class(tmp_path: Path, link: str, target: str) -> None:
    folder = put(tmp_path / "images", "cats/1.png", "cats/deep/2.png", "dogs/3.png")
    (folder / link).symlink_to(folder / target)
    found = all_of(folder)
    assert {"dogs/3.png", "cats/1.png"} <= set(found)
    real = [(os.path.realpath(folder / name), label) for name, label in found.items()]
    assert len(set(real)) == len(real)
    if target == ".":
        assert found == {"cats/1.png": 0, "cats/deep/2.png": 0, "dogs/3.png": 1}


def test_a_link_from_a_flat_folder_to_itself_gives_no_image_twice(tmp_path: Path) -> None:
    """Else one of the two could be for training and the other for testing."""
    folder = put(tmp_path / "images", "a.png", "b.png")
    (folder / "again").symlink_to(folder)
    assert all_of(folder) == {"a.png": 0, "b.png": 0}


def test_a_link_to_nothing_is_an_unreadable_image(tmp_path: Path) -> None:
    put(tmp_path, "cats/1.png")
    for name in ("cats/gone.png", "cats/itself.png"):
        (tmp_path / name).symlink_to(tmp_path / name if "itself" in name else tmp_path / "nowhere.png")
    split = opened(image_set(tmp_path, tmp_path), "test")
    assert names(split) == ["cats/1.png", "cats/gone.png", "cats/itself.png"]
    for index in (1, 2):
        with pytest.raises(UnreadableImageError) as told:
            split.reader(index)
        assert str(told.value)
        assert str(told.value).isprintable()


def test_a_link_to_nothing_at_the_top_is_not_passed_over_either(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert all_of(tmp_path) == {"1.png": 0, "gone.png": 0}


# Names ------------------------------------------------------------------------------------------

ODD = [
    "with space.png",
    "comma,semi;colon.png",
    "new\nline.png",
    "tab\t.png",
    "ünïcödé 画.png",
    "'quote\".png",
    "%s{0}.png",
]


@pytest.mark.parametrize("at_top", [True, False])
def test_names_may_have_any_characters(tmp_path: Path, at_top: bool) -> None:
    put(tmp_path, *(ODD if at_top else [f"{name} class/{name}" for name in ODD]))
    split = opened(image_set(tmp_path, tmp_path), "test")
    assert len(split.labels) == len(ODD)
    assert split.labels.tolist() == ([0] * len(ODD) if at_top else list(range(len(ODD))))
    found = {split.reader(index) for index in range(len(ODD))}
    assert found == {path.read_bytes() for path in tmp_path.rglob("*.png") if path.is_file()}
    for name in names(split):
        assert name.isprintable()
        name.encode()
    assert any(name.endswith(r"new\nline.png") for name in names(split))


def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    """On Linux a name is bytes; archives from elsewhere often bring Latin-1."""
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")  # noqa: PTH118
    try:
        os.mkdir(folder)  # noqa: PTH102
        for name in (b"\xff\xfe.png", b"a.png"):
            with open(os.path.join(folder, name), "wb") as file:  # noqa: PTH118, PTH123
                file.write(picture(len(name)))
    except (OSError, UnicodeError):
        pytest.skip("this file system takes only UTF-8")
    before = checksum(tmp_path)
    split = opened(image_set(tmp_path, tmp_path), "test")
    assert names(split) == [r"caf\xe9/a.png", r"caf\xe9/\xff\xfe.png"]
    reader = pickle.loads(pickle.dumps(split.reader))
    assert [reader(index) for index in range(2)] == [picture(5), picture(6)]
    os.rename(os.path.join(folder, b"\xff\xfe.png"), os.path.join(folder, b"\xff\xfd.png"))  # noqa: PTH104, PTH118
    assert checksum(tmp_path) != before


# Nothing there ----------------------------------------------------------------------------------


def one_line(action: Callable[[], Any]) -> str:
    with pytest.raises(GlowPipelineError) as told:
        action()
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_folder_that_is_absent_or_empty_is_told_in_one_line(tmp_path: Path) -> None:
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no picture")
    put(empty, ".hidden/1.png")
    file = put(tmp_path, "file.png") / "file.png"
    for path, problem in (
        (absent, "no such folder"),
        (file, "no such folder"),
        (empty, "no image in it (there are 1 .txt, 1 hidden)"),
    ):
        told = one_line(lambda path=path: folder_source(image_set(path)).files(tmp_path, "train"))  # type: ignore[misc]
        assert told.startswith(f"{path}: {problem}")
        told = one_line(lambda path=path: check_folder(path, "ood.out_path"))  # type: ignore[misc]
        assert told.startswith(f"ood.out_path={path}: {problem}")
    assert all(suffix in told for suffix in suffixes())
    assert "ingest.path" in one_line(lambda: folder_source(ImageSet(source="folder")).files(tmp_path, "train"))


@pytest.mark.parametrize("name", ["a.png", "cats/1.png", "cats/deep/1.PNG"])
def test_a_folder_with_one_image_somewhere_in_it_passes_the_early_check(tmp_path: Path, name: str) -> None:
    check_folder(put(tmp_path, name), "ingest.path")


@pytest.mark.parametrize("closed", ["", "cats", "dogs/deep"])
def test_a_folder_that_cannot_be_looked_into_is_told_and_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    """The classes after it would have other numbers. Root may look into every folder, hence the patch."""
    put(tmp_path, "cats/1.png", "dogs/1.png", "dogs/deep/1.png")
    scandir = os.scandir

    def refuse(path: str | os.PathLike[str]) -> Any:
        if Path(path) == tmp_path / closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    told = one_line(lambda: folder_source(image_set(tmp_path)).files(tmp_path, "train"))
    assert told.startswith(f"{tmp_path / closed}: Permission denied")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_image_that_may_not_be_read_is_an_unreadable_image(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png")
    before = checksum(tmp_path)
    (tmp_path / "2.png").chmod(0)
    assert checksum(tmp_path) != before
    with pytest.raises(UnreadableImageError, match="Permission denied"):
        opened(image_set(tmp_path, tmp_path), "test").reader(1)


def test_a_folder_whose_name_no_record_can_hold_is_told_before_it_is_read(tmp_path: Path) -> None:
    told = one_line(lambda: check_folder(tmp_path / "caf\udce9", "ingest.path"))
    assert told == rf"ingest.path={tmp_path}/caf\xe9: its name is not UTF-8; rename it"


# The checksum -----------------------------------------------------------------------------------


def checksum(folder: Path, split: Split = "train", eval_path: Path | None = None) -> str:
    (file,) = folder_source(image_set(folder, eval_path)).files(Path("raw"), split)
    assert file.path == (folder if split == "train" or eval_path is None else eval_path)
    assert len(bytes.fromhex(file.sha256)) == 32
    return file.sha256


def renamed(folder: Path) -> None:
    (folder / "cats" / "1.png").rename(folder / "cats" / "11.png")


def content_changed(folder: Path) -> None:
    content = bytearray((folder / "cats" / "1.png").read_bytes())
    content[-20] ^= 1
    (folder / "cats" / "1.png").write_bytes(content)


def moved_to_another_class(folder: Path) -> None:
    (folder / "cats" / "1.png").rename(folder / "dogs" / "1.png")


def class_renamed(folder: Path) -> None:
    (folder / "cats").rename(folder / "felines")


def swapped(folder: Path) -> None:
    first, second = (folder / "cats" / name for name in ("1.png", "2.png"))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])


def removed(folder: Path) -> None:
    (folder / "cats" / "2.png").unlink()


def added(folder: Path) -> None:
    put(folder, "dogs/new.png")


@pytest.mark.parametrize(
    "change", [renamed, content_changed, moved_to_another_class, class_renamed, swapped, removed, added]
)
def test_the_checksum_changes_with_names_and_contents(tmp_path: Path, change: Callable[[Path], None]) -> None:
    put(tmp_path, "cats/1.png", "cats/2.png", "dogs/3.png")
    before = checksum(tmp_path)
    change(tmp_path)
    assert checksum(tmp_path) != before


def test_the_checksum_stays_with_what_does_not_matter(tmp_path: Path) -> None:
    put(tmp_path / "a", "cats/1.png", "cats/2.png", "dogs/3.png")
    before = checksum(tmp_path / "a")
    os.utime(tmp_path / "a" / "cats" / "1.png", (0, 0))
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    assert checksum(tmp_path / "a") == before
    put(tmp_path / "b", "dogs/3.png", "cats/2.png", "cats/1.png")
    assert checksum(tmp_path / "b") == before


def test_the_checksum_covers_more_files_than_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, *(f"{index}.png" for index in range(10)))
    in_one = checksum(tmp_path)
    monkeypatch.setattr("glow_pipeline.images.file_digests.BLOCK", 3)
    assert checksum(tmp_path) == in_one
    (tmp_path / "9.png").write_bytes(b"")
    assert checksum(tmp_path) != in_one


def test_an_image_that_cannot_be_read_has_a_part_in_the_checksum(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    (tmp_path / "2.png").symlink_to(tmp_path / "nowhere.png")
    before = checksum(tmp_path)
    (tmp_path / "2.png").unlink()
    assert checksum(tmp_path) != before


# Training and test images -----------------------------------------------------------------------


def both(folder: Path, percentage: float = 10.0, seed: int = 0) -> tuple[list[str], list[str]]:
    """Names of the training and of the test images."""
    images = image_set(folder, percentage=percentage, seed=seed)
    return names(opened(images, "train")), names(opened(images, "test"))


def put_different(folder: Path, numbers: Iterable[int]) -> Path:
    """Files of different contents."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"{number:04}.png").write_bytes(f"{number}".encode())
    return folder


@pytest.mark.parametrize("percentage", [0.1, 10.0, 25.0, 99.9])
@pytest.mark.parametrize("count", [2, 3, 40, 1000])
def test_each_file_is_in_one_split_and_each_split_has_about_its_share(
    tmp_path: Path, count: int, percentage: float
) -> None:
    train, test = both(put_different(tmp_path, range(count)), percentage)
    assert train == sorted(train)
    assert test == sorted(test)
    assert sorted([*train, *test]) == [f"{number:04}.png" for number in range(count)]
    assert min(len(train), len(test)) >= 1
    expected, deviation = count * percentage / 100, (count * percentage * (100 - percentage)) ** 0.5 / 100
    assert abs(len(test) - expected) <= 1 + 4 * deviation


def test_images_stay_in_their_split_when_others_come(tmp_path: Path) -> None:
    before = both(put_different(tmp_path, range(100, 140)), 25)
    after = both(put_different(tmp_path, range(300)), 25)
    assert set(before[0]) <= set(after[0])
    assert set(before[1]) <= set(after[1])


def test_images_stay_in_their_split_when_they_are_renamed_or_moved(tmp_path: Path) -> None:
    folder = put_different(tmp_path / "a", range(60))
    train, test = both(folder, 25)
    for name in train + test:
        (folder / "sub").mkdir(exist_ok=True)
        (folder / name).rename(folder / "sub" / f"x{name}")
    folder = folder.rename(tmp_path / "b")
    assert both(folder, 25) == ([f"sub/x{name}" for name in train], [f"sub/x{name}" for name in test])


def test_exact_copies_are_in_one_split(tmp_path: Path) -> None:
    put_different(tmp_path, range(60))
    for number in range(60):
        (tmp_path / f"copy_{number:04}.png").write_bytes((tmp_path / f"{number:04}.png").read_bytes())
    for part in both(tmp_path, 25):
        assert {f"copy_{name}" for name in part if not name.startswith("copy_")} == {
            name for name in part if name.startswith("copy_")
        }


def test_labels_stay_with_their_images_when_they_are_split(tmp_path: Path) -> None:
    for letter in "abc":
        put_different(tmp_path / letter, range(ord(letter) * 100, ord(letter) * 100 + 10))
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        drawn = opened(image_set(tmp_path, percentage=40), split)
        assert drawn.labels.tolist() == ["abc".index(name[0]) for name in names(drawn)]


def test_the_split_is_drawn_by_the_seed(tmp_path: Path) -> None:
    put_different(tmp_path, range(80))
    drawn = [tuple(both(tmp_path, seed=seed)[1]) for seed in (0, 1, 2, 0)]
    assert len(set(drawn)) == 3
    assert drawn[0] == drawn[3]


def test_the_split_is_the_same_whatever_classes_are_asked_for(tmp_path: Path) -> None:
    """An image that one model was trained on is no test image of another one's run."""
    for letter in "ab":
        put_different(tmp_path / letter, range(ord(letter) * 100, ord(letter) * 100 + 20))
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        every, first = (opened(image_set(tmp_path, classes=classes), split) for classes in (None, [0]))
        assert names(every) == names(first)


def test_files_are_read_once_for_their_checksum_and_their_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_different(tmp_path, range(20))
    read: list[Path] = []

    def equal(path: Path) -> str:
        read.append(path)
        return "00" * 32

    monkeypatch.setattr("glow_pipeline.images.file_digests.sha256", equal)
    with pytest.raises(GlowPipelineError, match="20 copies of one image cannot be split"):
        opened(image_set(tmp_path), "train")
    assert len(read) == 20


def test_images_for_testing_may_lie_elsewhere(tmp_path: Path) -> None:
    train = put(tmp_path / "train", *(f"cats/{index}.png" for index in range(5)))
    test = put(tmp_path / "test", "cats/x.png", "dogs/y.png")
    images = image_set(train, test)
    assert names(opened(images, "train")) == [f"cats/{index}.png" for index in range(5)]
    assert names(opened(images, "test")) == ["cats/x.png", "dogs/y.png"]
    assert checksum(train, "test", test) == checksum(test, "test", test)
    assert checksum(train, "train", test) == checksum(train)


@pytest.mark.parametrize("link", [False, True])
def test_images_for_testing_inside_the_folder_are_not_trained_on(tmp_path: Path, link: bool) -> None:
    folder = put(tmp_path / "data", "a/1.png", "b/2.png", "test/a/3.png", "test/b/deep/4.png")
    test = folder / "test"
    if link:
        test = tmp_path / "link"
        test.symlink_to(folder / "test")
    (folder / "a" / "again").symlink_to(folder / "test" / "b")
    images = image_set(folder, test)
    check_apart(images)
    assert names(opened(images, "train")) == ["a/1.png", "b/2.png"]
    assert opened(images, "train").class_names == ["a", "b"]
    assert names(opened(images, "test")) == ["a/3.png", "b/deep/4.png"]


@pytest.mark.parametrize("eval_path", ["data", "link", ".", "data/all"])
def test_folder_without_images_to_train_on_is_refused(tmp_path: Path, eval_path: str) -> None:
    put(tmp_path / "data", "all/1.png", "all/2.png")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    line = one_line(lambda: check_apart(image_set(tmp_path / "data", tmp_path / eval_path)))
    assert line.startswith(f"ingest.eval_path={tmp_path / eval_path}: ")


def test_classes_of_test_images_have_the_numbers_of_the_training_images(tmp_path: Path) -> None:
    train = put(tmp_path / "train", "cats/0.png", "dogs/1.png", "mice/2.png")
    test = put(tmp_path / "test", "ants/w.png", "mice/x.png", "dogs/y.png")
    images = image_set(train, test)
    listed = opened(images, "test")
    assert dict(zip(names(listed), listed.labels.tolist(), strict=True)) == {
        "dogs/y.png": 1,
        "mice/x.png": 2,
        "ants/w.png": 3,
    }
    assert opened(images, "train").class_names == ["cats", "dogs", "mice"]
    assert listed.class_names == ["cats", "dogs", "mice", "ants"]
    before = checksum(train, "test", test)
    put(train, "bats/3.png")
    assert checksum(train, "test", test) != before


@pytest.mark.parametrize("flat", ["train", "test"])
def test_images_directly_in_a_folder_are_of_no_class_of_the_other(tmp_path: Path, flat: str) -> None:
    train = put(tmp_path / "train", "1.png" if flat == "train" else "cats/1.png")
    test = put(tmp_path / "test", "2.png" if flat == "test" else "cats/2.png")
    images = image_set(train, test)
    assert opened(images, "train").labels.tolist() == [0]
    assert opened(images, "test").labels.tolist() == [1]
    assert opened(images, "test").class_names == ["", "cats"] if flat == "train" else ["cats", ""]


def test_every_class_of_a_folder_counts_whichever_are_drawn(tmp_path: Path) -> None:
    put_different(tmp_path / "a", range(20))
    put_different(tmp_path / "b", [99])
    splits: tuple[Split, ...] = ("train", "test")
    for seed in range(5):
        drawn = [opened(image_set(tmp_path, seed=seed), split).class_names for split in splits]
        assert drawn == [["a", "b"], ["a", "b"]]


@pytest.mark.parametrize("copies", [1, 3])
def test_copies_of_one_image_cannot_be_split_but_can_all_be_for_testing(tmp_path: Path, copies: int) -> None:
    for number in range(copies):
        (tmp_path / f"{number}.png").write_bytes(picture(7))
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        line = one_line(lambda split=split: opened(image_set(tmp_path), split))  # type: ignore[misc]
        assert line.startswith(f"ingest.path={tmp_path}: {'1 image' if copies == 1 else '3 copies of one image'} ")
        assert "ingest.eval_path" in line
    assert len(names(opened(image_set(tmp_path, tmp_path), "test"))) == copies


# Chosen classes ---------------------------------------------------------------------------------


def test_classes_named_by_numbers_are_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    put(tmp_path, *(f"{k}/1.png" for k in range(12)))
    assert opened(image_set(tmp_path)).class_names == [str(k) for k in range(12)]


@pytest.mark.parametrize(
    ("typed", "chosen"),
    [([0], ("cats",)), (["dogs", "cats"], ("cats", "dogs")), (["0-1"], ("cats", "dogs")), (["dogs"], ("dogs",))],
)
def test_chosen_classes_of_a_folder_are_named(tmp_path: Path, typed: list[int | str], chosen: tuple[str, ...]) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png", "mice/1.png")
    assert with_class_names(image_set(tmp_path, classes=typed), "ingest.classes").classes == chosen


def test_number_that_is_understood_as_a_position_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png")
    with caplog.at_level(logging.INFO):
        with_class_names(image_set(tmp_path, classes=["dogs"]), "ingest.classes")
        assert not caplog.messages
        with_class_names(image_set(tmp_path, classes=[1]), "ingest.classes")
    assert caplog.messages == [f"ingest.classes=1: these are the folders dogs of {tmp_path}"]


def test_class_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png")
    line = one_line(lambda: with_class_names(image_set(tmp_path, classes=["cat"]), "ood.out_classes"))
    assert line == "ood.out_classes=cat: no class is called cat; did you mean cats?"

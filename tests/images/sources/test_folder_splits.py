"""Splits and classes of a folder's images."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.folder import check_apart, with_class_names
from glow_pipeline.images.sources.source import Split
from tests.images.sources.contract import error_of
from tests.images.sources.folders import checksum, image_selection, names, opened, picture, put

# Training and test images -----------------------------------------------------------------------


def both(folder: Path, percentage: float = 10.0, seed: int = 0) -> tuple[list[str], list[str]]:
    """Names of the training and of the test images."""
    images = image_selection(folder, percentage=percentage, seed=seed)
    return names(opened(images, "train")), names(opened(images, "test"))


def put_different(folder: Path, numbers: Iterable[int]) -> Path:
    """Files of different contents."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"{number:04}.png").write_bytes(f"{number}".encode())
    return folder


@pytest.mark.parametrize("percentage", [0.1, 10.0, 25.0, 99.9])
@pytest.mark.parametrize("count", [2, 3, 40, 1000])
def test_splits_are_disjoint_and_near_the_percentage(tmp_path: Path, count: int, percentage: float) -> None:
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


def test_renamed_or_moved_images_stay_in_their_split(tmp_path: Path) -> None:
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


def test_labels_stay_with_their_images(tmp_path: Path) -> None:
    for letter in "abc":
        put_different(tmp_path / letter, range(ord(letter) * 100, ord(letter) * 100 + 10))
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        drawn = opened(image_selection(tmp_path, percentage=40), split)
        assert drawn.labels.tolist() == ["abc".index(name[0]) for name in names(drawn)]


def test_the_split_is_drawn_by_the_seed(tmp_path: Path) -> None:
    put_different(tmp_path, range(80))
    drawn = [tuple(both(tmp_path, seed=seed)[1]) for seed in (0, 1, 2, 0)]
    assert len(set(drawn)) == 3
    assert drawn[0] == drawn[3]


def test_split_is_independent_of_chosen_classes(tmp_path: Path) -> None:
    """An image that one model was trained on is no test image of another one's run."""
    for letter in "ab":
        put_different(tmp_path / letter, range(ord(letter) * 100, ord(letter) * 100 + 20))
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        every, first = (opened(image_selection(tmp_path, classes=classes), split) for classes in (None, [0]))
        assert names(every) == names(first)


def test_files_are_read_once_for_checksum_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_different(tmp_path, range(20))
    read: list[Path] = []

    def equal(path: Path) -> str:
        read.append(path)
        return "00" * 32

    monkeypatch.setattr("glow_pipeline.images.sources.file_digests.sha256", equal)
    with pytest.raises(GlowPipelineError, match="20 copies of one image cannot be split"):
        opened(image_selection(tmp_path), "train")
    assert len(read) == 20


def test_images_for_testing_may_lie_elsewhere(tmp_path: Path) -> None:
    train = put(tmp_path / "train", *(f"cats/{index}.png" for index in range(5)))
    test = put(tmp_path / "test", "cats/x.png", "dogs/y.png")
    images = image_selection(train, test)
    assert names(opened(images, "train")) == [f"cats/{index}.png" for index in range(5)]
    assert names(opened(images, "test")) == ["cats/x.png", "dogs/y.png"]
    assert checksum(train, "test", test) == checksum(test, "test", test)
    assert checksum(train, "train", test) == checksum(train)


@pytest.mark.parametrize("link", [False, True])
def test_test_images_inside_the_folder_are_not_trained(tmp_path: Path, link: bool) -> None:
    folder = put(tmp_path / "data", "a/1.png", "b/2.png", "test/a/3.png", "test/b/deep/4.png")
    test = folder / "test"
    if link:
        test = tmp_path / "link"
        test.symlink_to(folder / "test")
    (folder / "a" / "again").symlink_to(folder / "test" / "b")
    images = image_selection(folder, test)
    check_apart(images)
    assert names(opened(images, "train")) == ["a/1.png", "b/2.png"]
    assert opened(images, "train").class_names == ["a", "b"]
    assert names(opened(images, "test")) == ["a/3.png", "b/deep/4.png"]


@pytest.mark.parametrize("eval_path", ["data", "link", ".", "data/all"])
def test_folder_without_images_to_train_on_is_refused(tmp_path: Path, eval_path: str) -> None:
    put(tmp_path / "data", "all/1.png", "all/2.png")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    line = error_of(lambda: check_apart(image_selection(tmp_path / "data", tmp_path / eval_path)))
    assert line.startswith(f"ingest.eval_path={tmp_path / eval_path}: ")


def test_test_classes_have_the_training_numbers(tmp_path: Path) -> None:
    train = put(tmp_path / "train", "cats/0.png", "dogs/1.png", "mice/2.png")
    test = put(tmp_path / "test", "ants/w.png", "mice/x.png", "dogs/y.png")
    images = image_selection(train, test)
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
def test_images_directly_in_a_folder_have_no_class(tmp_path: Path, flat: str) -> None:
    train = put(tmp_path / "train", "1.png" if flat == "train" else "cats/1.png")
    test = put(tmp_path / "test", "2.png" if flat == "test" else "cats/2.png")
    images = image_selection(train, test)
    assert opened(images, "train").labels.tolist() == [0]
    assert opened(images, "test").labels.tolist() == [1]
    assert opened(images, "test").class_names == ["", "cats"] if flat == "train" else ["cats", ""]


def test_every_class_of_a_folder_counts(tmp_path: Path) -> None:
    put_different(tmp_path / "a", range(20))
    put_different(tmp_path / "b", [99])
    splits: tuple[Split, ...] = ("train", "test")
    for seed in range(5):
        drawn = [opened(image_selection(tmp_path, seed=seed), split).class_names for split in splits]
        assert drawn == [["a", "b"], ["a", "b"]]


@pytest.mark.parametrize("copies", [1, 3])
def test_copies_of_one_image_cannot_be_split(tmp_path: Path, copies: int) -> None:
    for number in range(copies):
        (tmp_path / f"{number}.png").write_bytes(picture(7))
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        line = error_of(lambda split=split: opened(image_selection(tmp_path), split))  # type: ignore[misc]
        assert line.startswith(f"ingest.path={tmp_path}: {'1 image' if copies == 1 else '3 copies of one image'} ")
        assert "ingest.eval_path" in line
    assert len(names(opened(image_selection(tmp_path, tmp_path), "test"))) == copies


# Chosen classes ---------------------------------------------------------------------------------


def test_classes_named_by_numbers_are_ordered_by_value(tmp_path: Path) -> None:
    put(tmp_path, *(f"{k}/1.png" for k in range(12)))
    assert opened(image_selection(tmp_path)).class_names == [str(k) for k in range(12)]


@pytest.mark.parametrize(
    ("typed", "chosen"),
    [([0], ("cats",)), (["dogs", "cats"], ("cats", "dogs")), (["0-1"], ("cats", "dogs")), (["dogs"], ("dogs",))],
)
def test_chosen_classes_of_a_folder_are_named(tmp_path: Path, typed: list[int | str], chosen: tuple[str, ...]) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png", "mice/1.png")
    assert with_class_names(image_selection(tmp_path, classes=typed), "ingest.classes").classes == chosen


def test_number_understood_as_a_position_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png")
    with caplog.at_level(logging.INFO):
        with_class_names(image_selection(tmp_path, classes=["dogs"]), "ingest.classes")
        assert not caplog.messages
        with_class_names(image_selection(tmp_path, classes=[1]), "ingest.classes")
    assert caplog.messages == [f"ingest.classes=1: these are the folders dogs of {tmp_path}"]


def test_unknown_class_is_refused_with_the_nearest(tmp_path: Path) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png")
    line = error_of(lambda: with_class_names(image_selection(tmp_path, classes=["cat"]), "ood.out_classes"))
    assert line == "ood.out_classes=cat: no class is called cat; did you mean cats?"

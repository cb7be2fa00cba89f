import os
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.registry import SOURCES

classes = st.none() | st.sets(st.integers(0, 999), min_size=1, max_size=60)
# Paths of a few letters, so that one is often the beginning or the end of another.
paths = st.lists(st.text("ab_- é\n.", min_size=1, max_size=6), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)


@st.composite
def image_sets(draw: st.DrawFn) -> ImageSet:
    source = draw(st.sampled_from(sorted(SOURCES)))
    if source != "folder":
        return ImageSet.of(source, draw(classes))
    return ImageSet.of_folder(draw(paths), draw(st.none() | paths), 10.0, 0, draw(classes))


@given(st.lists(image_sets(), min_size=2, max_size=12))
def test_different_images_have_different_keys(sets: list[ImageSet]) -> None:
    assert len({one.key for one in sets}) == len(set(sets))


@given(image_sets())
def test_a_key_is_a_short_name_of_a_folder_anywhere(one: ImageSet) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", one.key)
    assert len(one.key) <= 120
    assert one.key.startswith(one.source)


@given(image_sets())
def test_an_image_set_goes_through_json(one: ImageSet) -> None:
    assert ImageSet.model_validate_json(one.model_dump_json()) == one


def test_keys_of_sources_can_be_read() -> None:
    assert ImageSet.of("octmnist").key == "octmnist"
    assert ImageSet.of("pneumoniamnist", [0]).key == "pneumoniamnist_class_0"
    assert ImageSet.of("cifar10", [7, 2, 1, 0, 2]).key == "cifar10_class_0-2_7"
    assert ImageSet.of("cifar100", range(100)).key == "cifar100_class_0-99"


@pytest.mark.parametrize("classes_of_many", [range(0, 1000, 2), range(1, 1000, 2)])
def test_keys_of_many_classes_stay_short(classes_of_many: range) -> None:
    assert re.fullmatch(r"imagenet_class_[0-9a-f]{8}", ImageSet.of("imagenet", classes_of_many).key)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=10), st.randoms())
def test_the_order_of_classes_and_their_repetition_do_not_matter(given_classes: list[int], random: Random) -> None:
    shuffled = given_classes * 2
    random.shuffle(shuffled)
    assert ImageSet.of("cifar100", given_classes) == ImageSet.of("cifar100", shuffled)
    assert ImageSet.of("cifar100", given_classes).classes == tuple(sorted(set(given_classes)))


# Folders ----------------------------------------------------------------------------------------


def folder(path: str, eval_path: str | None = None, classes: list[int] | None = None, seed: int = 0) -> ImageSet:
    return ImageSet.of_folder(path, eval_path, 10.0, seed, classes)


def test_a_key_of_a_folder_has_its_name_and_tells_places_apart() -> None:
    keys = [folder(path).key for path in ("/data/cats", "/other/cats", "/data/cats/cats")]
    assert all(re.fullmatch(r"folder_cats_[0-9a-f]{8}", key) for key in keys)
    assert len(set(keys)) == 3
    assert re.fullmatch(r"folder_cats_[0-9a-f]{8}_class_0-1", folder("/data/cats", classes=[1, 0]).key)


def test_a_key_tells_where_the_images_for_testing_are() -> None:
    assert len({folder("/a", eval_path).key for eval_path in (None, "/a", "/b")}) == 3
    assert folder("/a", "/b").key != folder("/b", "/a").key


@pytest.mark.parametrize("name", ["with space", "new\nline", "画像", "caf\udce9", "../..", "a" * 300, "-", "%s", "'\""])
def test_a_folder_of_any_name_has_a_key_for_any_file_system(name: str) -> None:
    key = folder(f"/data/{name}").key
    assert re.fullmatch(r"folder_[A-Za-z0-9_-]*_[0-9a-f]{8}", key)
    assert len(key) < 60
    assert key != folder(f"/data/{name}x").key


def test_the_root_of_all_folders_has_a_key() -> None:
    assert re.fullmatch(r"folder__[0-9a-f]{8}", folder("/").key)


def test_relative_paths_are_meant_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = folder("images/cats", "images/test")
    assert relative == folder(str(tmp_path / "images" / "cats"), str(tmp_path / "images" / "test"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert relative.path == tmp_path / "images" / "cats"
    assert relative.eval_path == tmp_path / "images" / "test"
    assert folder("images/cats") != relative


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME" if os.name == "posix" else "USERPROFILE", str(tmp_path))
    assert folder("~/cats", "~/test") == folder(str(tmp_path / "cats"), str(tmp_path / "test"))


def test_a_home_of_nobody_is_a_folder_that_is_not_there() -> None:
    """Which the early check tells; an exception of pathlib's would come before it."""
    path = folder("~nobody-of-this-name/cats").path
    assert path is not None
    assert path.is_absolute()
    assert not path.exists()


def test_images_for_testing_from_elsewhere_are_not_drawn() -> None:
    drawn, given_ = folder("/a", seed=3), folder("/a", "/b", seed=3)
    assert (drawn.eval_percentage, drawn.seed) == (10.0, 3)
    assert (given_.eval_percentage, given_.seed) == (None, None)
    assert folder("/a", "/b", seed=3) == folder("/a", "/b", seed=4)


# Overlaps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (ImageSet.of("mnist"), ImageSet.of("mnist"), True),
        (ImageSet.of("mnist"), ImageSet.of("digits"), False),
        (ImageSet.of("mnist", [0, 1]), ImageSet.of("mnist"), True),
        (ImageSet.of("mnist", [0, 1]), ImageSet.of("mnist", [1, 2]), True),
        (ImageSet.of("mnist", [0, 1]), ImageSet.of("mnist", [2, 3]), False),
        (ImageSet.of("mnist", [0]), ImageSet.of("fashionmnist", [0]), False),
        (ImageSet.of("octmnist"), ImageSet.of("octmnist_64"), True),
        (ImageSet.of("octmnist", [0]), ImageSet.of("octmnist_64", [1]), False),
        # A folder in a folder.
        (folder("/a"), folder("/a/b", "/a/b"), True),
        (folder("/a", "/c"), folder("/c/d"), True),
        (folder("/a", classes=[0]), folder("/a/b", "/a/b"), False),
        (folder("/a"), folder("/a/../b"), False),
        (folder("/a"), folder("/b/../a"), True),
        (folder("/a"), folder("/ab"), False),
        (folder("/a"), folder("/a"), True),
        (folder("/a"), folder("/b"), False),
        (folder("/a"), ImageSet.of("mnist"), False),
        (folder("/a", classes=[0]), folder("/a", classes=[1]), False),
        (folder("/a", classes=[0]), folder("/a", classes=[0, 1]), True),
        (folder("/a", seed=0), folder("/a", seed=1), True),
        # As `ood.out_path` has it: all images of that folder are for testing.
        (folder("/a"), folder("/a", "/a"), True),
        (folder("/a", "/b"), folder("/b", "/b"), True),
        (folder("/a", "/b"), folder("/a", "/a"), True),
        (folder("/a", "/b"), folder("/c", "/c"), False),
        (folder("/a", "/b", classes=[0]), folder("/b", "/b", classes=[1]), False),
    ],
)
def test_sets_overlap_when_an_image_may_be_in_both(one: ImageSet, other: ImageSet, overlap: bool) -> None:
    assert one.overlaps(other) is overlap
    assert other.overlaps(one) is overlap


@given(image_sets(), image_sets())
def test_overlapping_goes_both_ways_and_every_set_overlaps_itself(one: ImageSet, other: ImageSet) -> None:
    assert one.overlaps(one)
    assert one.overlaps(other) == other.overlaps(one)


def test_an_image_set_does_not_change() -> None:
    with pytest.raises(ValidationError):
        ImageSet.of("mnist").source = "digits"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        ImageSet.model_validate({"source": "mnist", "colour": "red"})

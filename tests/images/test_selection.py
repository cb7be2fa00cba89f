import os
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.registry import SOURCES

classes = st.none() | st.sets(st.integers(0, 999), min_size=1, max_size=60)
# Paths of a few letters, so that one is often the beginning or the end of another.
paths = st.lists(st.text("ab_- é\n.", min_size=1, max_size=6), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)


@st.composite
def image_selections(draw: st.DrawFn) -> ImageSelection:
    source = draw(st.sampled_from(sorted(SOURCES)))
    if source != "folder":
        return ImageSelection.of(source, draw(classes))
    return ImageSelection.of_folder(draw(paths), draw(st.none() | paths), 10.0, 0, draw(classes))


@given(st.lists(image_selections().filter(lambda one: one.source != "folder"), min_size=2, max_size=12))
def test_different_images_have_different_keys(sets: list[ImageSelection]) -> None:
    assert len({one.key for one in sets}) == len(set(sets))


@given(image_selections(), image_selections())
def test_sets_of_one_run_have_different_keys(one: ImageSelection, other: ImageSelection) -> None:
    renamed = one.distinct_from(other)
    assert renamed.model_copy(update={"name": one.name}) == one
    same_folders = (one.path, one.eval_path) == (other.path, other.eval_path)
    assert (renamed.key.casefold() != other.key.casefold()) or (same_folders and one.classes == other.classes)


@given(image_selections())
def test_key_is_a_short_portable_name(one: ImageSelection) -> None:
    assert re.fullmatch(r"[\w-]+", one.key)
    assert len(one.key) <= 120
    assert one.key.startswith(one.source)


@given(image_selections())
def test_selection_survives_json(one: ImageSelection) -> None:
    assert ImageSelection.model_validate_json(one.model_dump_json()) == one


def test_keys_of_sources_can_be_read() -> None:
    assert ImageSelection.of("octmnist").key == "octmnist"
    assert ImageSelection.of("pneumoniamnist", [0]).key == "pneumoniamnist_class_0"
    assert ImageSelection.of("cifar10", [7, 2, 1, 0, 2]).key == "cifar10_class_0-2_7"
    assert ImageSelection.of("cifar100", range(100)).key == "cifar100_class_0-99"


@pytest.mark.parametrize("classes_of_many", [range(0, 1000, 2), range(1, 1000, 2)])
def test_keys_of_many_classes_stay_short(classes_of_many: range) -> None:
    assert re.fullmatch(r"imagenet_class_[0-9a-f]{8}", ImageSelection.of("imagenet", classes_of_many).key)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=10), st.randoms())
def test_order_and_repetition_of_classes_are_irrelevant(given_classes: list[int], random: Random) -> None:
    shuffled = given_classes * 2
    random.shuffle(shuffled)
    assert ImageSelection.of("cifar100", given_classes) == ImageSelection.of("cifar100", shuffled)
    assert ImageSelection.of("cifar100", given_classes).classes == tuple(sorted(set(given_classes)))


# Folders ----------------------------------------------------------------------------------------


def folder(
    path: str, eval_path: str | None = None, classes: Sequence[int | str] | None = None, seed: int = 0
) -> ImageSelection:
    return ImageSelection.of_folder(path, eval_path, 10.0, seed, classes)


def test_folder_key_depends_on_its_name_only() -> None:
    assert {folder(path).key for path in ("/data/cats", "/other/cats", "/data/cats/cats")} == {"folder_cats"}
    assert {folder("/data/cats", eval_path).key for eval_path in (None, "/a", "/b")} == {"folder_cats"}
    assert ImageSelection.of_folder("/data/cats", None, 10.0, 0, name="felines").key == "folder_felines"


@pytest.mark.parametrize(
    ("classes", "key"),
    [
        ([1, 0], "0-1"),
        (["0-1", 3], "0-1_3"),
        (["cats"], "cats"),
        (["cats", "dogs"], "cats__dogs"),
        (["no_finding"], "no_finding"),
        (["Röntgen"], "Röntgen"),
    ],
)
def test_key_of_a_folder_has_its_classes(classes: list[int | str], key: str) -> None:
    assert folder("/data/pets", classes=classes).key == f"folder_pets_class_{key}"


def test_classes_that_read_alike_have_different_keys() -> None:
    choices: list[list[int | str]] = [
        ["a b"],
        ["a_b"],
        ["a", "b"],
        ["a_b", "c"],
        ["a", "b_c"],
        ["a", "b", "c"],
        ["a/b"],
    ]
    assert len({folder("/a", classes=choice).key for choice in choices}) == len(choices)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("with space", "with_space"),
        ("new\nline", "new_line"),
        ("画像", "画像"),
        ("हिन्दी", "हिन्दी"),
        ("Ro\u0308ntgen", "R\u00f6ntgen"),
        ("caf\udce9", "caf"),
        ("2024.05", "2024_05"),
    ],
)
def test_folder_name_stays_readable_in_its_key(name: str, key: str) -> None:
    assert folder(f"/data/{name}").key == f"folder_{key}"


@pytest.mark.parametrize("name", ["-", "'\"", "%%", "\udce9"])
def test_hash_stands_for_a_name_without_letters(name: str) -> None:
    assert re.fullmatch("folder_[0-9a-f]{8}", folder(f"/data/{name}").key)


@pytest.mark.parametrize("letter", ["a", "画", "😀a"])
def test_long_names_are_cut_and_stay_different(letter: str) -> None:
    one, other = (folder(f"/data/{letter * 100}{end}").key for end in "xy")
    assert one != other
    assert len(one.encode()) <= 100


def test_the_root_of_all_folders_has_a_key() -> None:
    assert folder("/").key == "folder_root"


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


def test_home_of_an_unknown_user_does_not_exist() -> None:
    """The early check reports it; pathlib would raise an exception before."""
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
        (ImageSelection.of("mnist"), ImageSelection.of("mnist"), True),
        (ImageSelection.of("mnist"), ImageSelection.of("digits"), False),
        (ImageSelection.of("mnist", [0, 1]), ImageSelection.of("mnist"), True),
        (ImageSelection.of("mnist", [0, 1]), ImageSelection.of("mnist", [1, 2]), True),
        (ImageSelection.of("mnist", [0, 1]), ImageSelection.of("mnist", [2, 3]), False),
        (ImageSelection.of("mnist", [0]), ImageSelection.of("fashionmnist", [0]), False),
        (ImageSelection.of("octmnist"), ImageSelection.of("octmnist_64"), True),
        (ImageSelection.of("octmnist", [0]), ImageSelection.of("octmnist_64", [1]), False),
        # A folder in a folder.
        (folder("/a"), folder("/a/b", "/a/b"), True),
        (folder("/a", "/c"), folder("/c/d"), True),
        (folder("/a", classes=[0]), folder("/a/b", "/a/b"), False),
        (folder("/a", classes=["b"]), folder("/a/b", "/a/b"), True),
        (folder("/a", classes=["c"]), folder("/a/b", "/a/b"), False),
        (folder("/a", classes=["c", "b"]), folder("/a/b/d", "/a/b/d"), True),
        (folder("/a", classes=["cats"]), folder("/a", classes=["dogs"]), False),
        (folder("/a", classes=["cats"]), folder("/a", classes=["cats", "dogs"]), True),
        (folder("/a"), folder("/a/../b"), False),
        (folder("/a"), folder("/b/../a"), True),
        (folder("/a"), folder("/ab"), False),
        (folder("/a"), folder("/a"), True),
        (folder("/a"), folder("/b"), False),
        (folder("/a"), ImageSelection.of("mnist"), False),
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
def test_selections_overlap_in_possible_images(one: ImageSelection, other: ImageSelection, overlap: bool) -> None:
    assert one.overlaps(other) is overlap
    assert other.overlaps(one) is overlap


def test_links_to_a_folder_are_that_folder(tmp_path: Path) -> None:
    (tmp_path / "real" / "cats").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    real, link = folder(str(tmp_path / "real")), folder(str(tmp_path / "link"))
    assert link.overlaps(real)
    assert link.overlaps(folder(str(tmp_path / "real" / "cats")))
    assert link.key == "folder_link"


@given(image_selections(), image_selections())
def test_overlap_is_symmetric_and_reflexive(one: ImageSelection, other: ImageSelection) -> None:
    assert one.overlaps(one)
    assert one.overlaps(other) == other.overlaps(one)


def test_selection_is_immutable() -> None:
    with pytest.raises(ValidationError):
        ImageSelection.of("mnist").source = "digits"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        ImageSelection.model_validate({"source": "mnist", "colour": "red"})


def test_folder_of_the_models_name_elsewhere_is_distinct() -> None:
    inside = ImageSelection.of_folder(None, None, 10.0, 0, name="xrays")
    outside = ImageSelection.of_folder("/b/xrays", "/b/xrays", 10.0, 0)
    assert outside.distinct_from(inside).key == "folder_b_xrays"

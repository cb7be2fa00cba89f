"""Names of sets of outliers, and what they stand for."""

from pathlib import Path

import pytest

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.outliers.benchmark.image_changes import CHANGES
from glow_pipeline.outliers.benchmark.out_sets import (
    CALIBRATION,
    CONTROLS,
    is_out_set,
    kind_of,
    out_set_names,
    selection_of,
)

DIGITS = ImageSelection.of("digits")


@pytest.mark.parametrize(
    ("name", "source", "classes"),
    [
        ("mnist", "mnist", None),
        ("mnist_class_3", "mnist", (3,)),
        ("mnist_class_0-2_7", "mnist", (0, 1, 2, 7)),
        ("pneumoniamnist_class_1", "pneumoniamnist", (1,)),
        ("octmnist_64", "octmnist_64", None),
        ("octmnist_64_class_1", "octmnist_64", (1,)),
    ],
)
def test_name_selects_source_and_classes(name: str, source: str, classes: tuple[int, ...] | None) -> None:
    selection = selection_of(name)
    assert selection == ImageSelection(source=source, classes=classes)
    assert selection.key == name


@pytest.mark.parametrize("name", ["mnits", "mnist_class_10", "mnist_class_", "mnist_class_2-1", "folder", ""])
def test_unknown_name_is_no_set(name: str) -> None:
    assert not is_out_set(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mnist_class_1", "near"),
        ("mnist", "near"),
        ("blur", "near"),
        ("digits", "far"),
        ("noise", "control"),
        (CALIBRATION, "control"),
    ],
)
def test_same_source_and_changes_are_near(name: str, kind: str) -> None:
    assert kind_of(name, ImageSelection.of("mnist", [0])) == kind


def test_all_are_controls_changes_and_sets_on_disk(tmp_path: Path) -> None:
    names = out_set_names(["all", "blur"], DIGITS, tmp_path)
    assert names[: len(CONTROLS)] == list(CONTROLS)
    assert set(names) == {CALIBRATION, "textures", *CHANGES}
    assert len(names) == len(set(names))


def test_all_takes_one_size_of_a_set(tmp_path: Path) -> None:
    (tmp_path / "medmnist").mkdir()
    for name in ("octmnist", "octmnist_64", "pathmnist_64"):
        (tmp_path / "medmnist" / f"{name}.npz").touch()
    names = out_set_names(["all"], DIGITS, tmp_path)
    assert {"octmnist", "pathmnist_64"} <= set(names)
    assert "octmnist_64" not in names
    assert "octmnist" not in out_set_names(["all"], ImageSelection.of("octmnist", [0]), tmp_path)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.classes import Choice, choose, chosen_rows, natural_key, numbers, position, sanitise, shorten


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    names = ["10", "9", "2", "a10b", "a9b", "a", "B", "02"]
    assert sorted(names, key=natural_key) == ["02", "2", "9", "10", "B", "a", "a9b", "a10b"]


@given(st.lists(st.text("ab019 é²", max_size=5)))
def test_all_names_have_one_order(names: list[str]) -> None:
    in_order = sorted(names, key=natural_key)
    names.reverse()
    assert sorted(names, key=natural_key) == in_order


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ((3,), (3,)),
        (("0-2", 7, 1), (0, 1, 2, 7)),
        (("cats",), None),
        (("5-3",), None),
        ((0, "a"), None),
        (("0-999999999",), None),
    ],
)
def test_numbers_and_ranges_are_distinguished_from_names(choice: Choice, expected: tuple[int, ...] | None) -> None:
    assert numbers(choice) == expected


PETS = ["cats", "dogs", "mice"]
DIGITS = [str(k) for k in range(12)]


@pytest.mark.parametrize(
    ("choice", "names", "chosen"),
    [
        (("cats",), PETS, [0]),
        (("mice", "cats", "mice"), PETS, [0, 2]),
        ((1,), PETS, [1]),
        (("0-1",), PETS, [0, 1]),
        ((0, "mice"), PETS, [0, 2]),
        # A number is the folder of that name where folders are named by numbers.
        ((2,), DIGITS, [2]),
        ((2,), ["1", "10", "2"], [2]),
        ((5,), ["003", "005", "x"], [1]),
        (("2-4",), ["2", "4", "6"], [0, 1]),
        # A folder's name precedes its other meanings.
        (("0-9",), ["0-9", "10-19"], [0]),
        (("0-1",), ["0", "1", "0-1"], [2]),
        (("cats", "dogs"), ["cats", "cats+dogs", "dogs"], [1]),
        ((2,), ["02", "2"], [1]),
        ((20240101,), ["20231231", "20240101"], [1]),
    ],
)
def test_classes_are_chosen_by_name_number_or_position(choice: Choice, names: list[str], chosen: list[int]) -> None:
    assert choose(choice, names) == chosen


@pytest.mark.parametrize(
    ("choice", "names", "hint"),
    [
        ((3,), PETS, "no class is called 3; there are cats, dogs, mice"),
        ((0,), ["1", "2"], "no class is called 0; there are 1, 2"),
        (("Cats",), PETS, "no class is called Cats; did you mean cats?"),
        (("x",), DIGITS, "no class is called x; there are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (12 in all)"),
    ],
)
def test_invalid_class_is_refused_in_one_line(choice: Choice, names: list[str], hint: str) -> None:
    with pytest.raises(GlowPipelineError) as refused:
        choose(choice, names)
    assert str(refused.value) == hint


@pytest.mark.parametrize(
    ("choice", "names", "expected"),
    [
        (None, PETS, [0, 1, 2, 3]),
        (("dogs", "mice"), PETS, [1, 2, 3]),
        ((0, 1), [], [0, 1, 3]),
    ],
)
def test_rows_of_chosen_classes_are_found(choice: Choice | None, names: list[str], expected: list[int]) -> None:
    assert list(chosen_rows(np.array([0, 1, 2, 1]), choice, names)) == expected


@given(st.text(max_size=100))
def test_sanitised_name_is_short_and_never_empty(name: str) -> None:
    made = sanitise(name)
    assert 0 < len(made) <= 49
    assert len(made.encode()) <= 89
    assert not set(made) & set("/\\:.%\"'\n\0 ")
    assert sanitise(made) == made or len(made) > 40


def test_long_lists_of_names_are_shortened() -> None:
    assert shorten(["a", "b"]) == "a, b"
    assert shorten(DIGITS, 3) == "0, 1, 2, ... (12 in all)"


def test_position_follows_name_or_number() -> None:
    assert position(3, ["1", "3"]) == 1
    assert position(1, ["cats", "dogs"]) == 1
    assert position(7, []) == 7
    with pytest.raises(GlowPipelineError, match="no class is called 2"):
        position(2, ["1", "3"])


def test_classes_of_a_flat_folder_are_refused() -> None:
    with pytest.raises(GlowPipelineError, match="it has no classes, since images are directly in it"):
        choose((0,), [""])

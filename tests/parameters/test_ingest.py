"""Values of ingest parameters in each form that they may be typed in."""

import pytest

from glow_pipeline.parameters import parse_parameters
from tests.parameters.helpers import refusal


@pytest.mark.parametrize("size", ["big", 32.5, [32, "x"]])
def test_size_of_wrong_type_is_one_error(size: object) -> None:
    message = refusal({"ingest": {"size": size}})
    assert "height x width" in message
    assert "more" not in message


@pytest.mark.parametrize(
    ("typed", "ends"),
    [
        ("0-4095", (0, 4095)),
        ("0..1", (0, 1)),
        ("0.5-1.5", (0.5, 1.5)),
        ("-1024..3071", (-1024, 3071)),
        ("-1024-3071", (-1024, 3071)),
        ("-5--1", (-5, -1)),
        ([-1024, 3071.5], (-1024, 3071.5)),
        (None, None),
    ],
)
def test_grey_range_is_typed_or_listed(typed: object, ends: tuple[float, float] | None) -> None:
    parsed = parse_parameters({"dataset": "folder", "ingest": {"path": "/images", "range": typed}})
    assert parsed.image_format.range == ends
    assert parse_parameters(parsed.model_dump()).image_format == parsed.image_format


@pytest.mark.parametrize(
    ("typed", "classes"),
    [(3, (3,)), ("3", (3,)), ("0-4", (0, 1, 2, 3, 4)), ("5+0-2", (0, 1, 2, 5)), ([2, 1, 2], (1, 2)), (None, None)],
)
def test_classes_are_one_a_range_or_several(typed: object, classes: tuple[int, ...] | None) -> None:
    parsed = parse_parameters({"ingest": {"classes": typed}, "ood": {"out_classes": typed}})
    assert (parsed.image_selection.classes, parsed.out_image_selection.classes) == (classes, classes)


@pytest.mark.parametrize(
    ("typed", "classes"),
    [("cats+dogs", ("cats", "dogs")), ("0-9", ("0-9",)), ("3+cats", (3, "cats")), (["a+b", 1], ("a+b", 1))],
)
def test_classes_of_folder_stay_as_typed(typed: object, classes: tuple[int | str, ...]) -> None:
    raw = {"dataset": "folder", "out_dataset": "folder", "ingest": {"path": "a", "classes": typed}}
    parsed = parse_parameters({**raw, "ood": {"out_path": "b", "out_classes": typed}})
    assert (parsed.image_selection.classes, parsed.out_image_selection.classes) == (classes, classes)

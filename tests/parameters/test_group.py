"""Choices from a registry, and the mark of what a resumed training may change."""

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from glow_pipeline.parameters.group import Changeable, ChangeableOnResume, OneOf, ParameterGroup

REGISTRY = {"one": 1, "two": 2}


class Group(ParameterGroup):
    """A group as anyone might write it."""

    choice: Changeable[Annotated[str, OneOf(REGISTRY)]] = "one"
    perhaps: Annotated[str, OneOf(REGISTRY)] | None = None
    several: list[Annotated[str, OneOf(REGISTRY, "a known name")]] = Field(["one"])
    bounded: Changeable[int | None] = Field(None, ge=1)
    free: int = 3


def test_choice_is_a_name_of_the_registry() -> None:
    assert Group(choice="two", perhaps="one", several=["two", "one"]).choice == "two"
    with pytest.raises(ValidationError, match="Input should be 'one' or 'two'"):
        Group(choice="three")
    with pytest.raises(ValidationError, match=r"several\.1\n  Input should be a known name"):
        Group(several=["one", "three"])
    with pytest.raises(ValidationError, match="Input should be 'one' or 'two'"):
        Group.model_validate({"choice": 1})


def test_name_registered_later_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "three", 3)
    assert Group(choice="three").choice == "three"
    with pytest.raises(ValidationError, match="Input should be 'one', 'two' or 'three'"):
        Group(choice="four")


def test_single_choice_is_listed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(REGISTRY, "two")
    with pytest.raises(ValidationError, match="Input should be 'one'"):
        Group(choice="two")


def test_mark_leaves_type_and_bounds_alone() -> None:
    marked = {
        name
        for name, field in Group.model_fields.items()
        if any(isinstance(mark, ChangeableOnResume) for mark in field.metadata)
    }
    assert marked == {"choice", "bounded"}
    assert Group.model_fields["bounded"].annotation == int | None
    assert Group(bounded=None).bounded is None
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Group(bounded=0)


@pytest.mark.parametrize(
    ("field", "typed", "offered"),
    [("choice", "tow", ["one", "two"]), ("choice", "zzz", []), ("several", ["zzz"], ["one", "two"])],
)
def test_names_are_offered_if_similar_or_unlisted(field: str, typed: object, offered: list[str]) -> None:
    with pytest.raises(ValidationError) as error:
        Group.model_validate({field: typed})
    assert error.value.errors()[0]["ctx"]["offered"] == offered


def test_values_are_not_converted() -> None:
    with pytest.raises(ValidationError, match="valid integer"):
        Group.model_validate({"free": "3"})
    with pytest.raises(ValidationError, match="not permitted"):
        Group.model_validate({"fre": 3})

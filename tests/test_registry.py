from dataclasses import dataclass

import pytest

from glow_pipeline.registry import Registry


@dataclass(frozen=True)
class Colour:
    name: str
    summary: str = "a colour"


def colours(*names: str) -> Registry[Colour]:
    return Registry("colour", [Colour(name) for name in names], reserved=("file",))


def test_registered_choice_comes_last_until_removed() -> None:
    registry = colours("red", "green")
    blue = registry.register(Colour("blue", "the sky"))
    assert list(registry) == ["red", "green", "blue"]
    assert registry["blue"] is blue
    assert registry.summaries() == "red: a colour; green: a colour; blue: the sky"
    registry.remove("blue")
    assert list(registry) == ["red", "green"]


@pytest.mark.parametrize("name", ["red", "all", "file"])
def test_taken_names_are_refused(name: str) -> None:
    registry = colours("red")
    with pytest.raises(ValueError, match=f"colour {name}: the name is taken"):
        registry.register(Colour(name))
    assert list(registry) == ["red"]


@pytest.mark.parametrize("name", ["", "Red", "dark red", "a+b", "a,b", "../red", "1st", "a.b"])
def test_untypable_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="should be small letters, digits and underscores"):
        colours(name)

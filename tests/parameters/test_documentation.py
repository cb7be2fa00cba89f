"""Documentation that is written from the fields."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field
from pydantic.fields import FieldInfo

from glow_pipeline.parameters.documentation import allowed_values, comment, documented, with_comments, with_table
from glow_pipeline.parameters.group import Changeable, OneOf, ParameterGroup
from glow_pipeline.parameters.names import all_fields
from tests.project import ROOT

FILES = documented(ROOT)


class Group(ParameterGroup):
    """One field of each kind of value."""

    bounded: Changeable[int | None] = Field(None, ge=1, le=3, description="a number")
    either: Annotated[int, Field(ge=1)] | Literal["auto"] = Field("auto", description="both")
    switch: Literal["auto"] | bool = Field("auto", description="a switch")
    registered: Annotated[str, OneOf({"one": 1, "two": 2})] = Field("one", description="of a registry")
    several: list[Annotated[str, OneOf(["one", "two"])]] = Field([], description="of a registry")
    named: Annotated[str, OneOf(["one", "two"], "a known name")] = Field("one", description="of a large registry")
    formed: str | None = Field(None, examples=[32, "16x24", [16, 24]], description="typed in its own form")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_documentation_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path], "run `make docs`"


def test_every_group_has_its_own_file() -> None:
    groups = {name.partition(".")[0] for name in all_fields() if "." in name}
    modules = {path.stem for path in (ROOT / "src" / "glow_pipeline" / "parameters").glob("*.py")}
    assert {path.name for path in FILES} >= {"parameters.yml", *(f"parameters_{group}.yml" for group in groups)}
    assert groups <= modules


@pytest.mark.parametrize("name", all_fields())
def test_every_parameter_is_described_in_one_line(name: str) -> None:
    text = all_fields()[name].description
    assert text is not None
    assert text.strip() == text != ""
    assert "\n" not in text
    assert "|" not in text, "it would end the table's cell"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bounded", ["integer >= 1 and <= 3", "null"]),
        ("either", ["integer >= 1", "auto"]),
        ("switch", ["auto", "true", "false"]),
        ("registered", ["one", "two"]),
        ("several", ["list of one or two"]),
        ("named", ["a known name"]),
        ("formed", ["32", "16x24", "[16,24]", "null"]),
    ],
)
def test_allowed_values_are_choices_examples_or_types(name: str, values: list[str]) -> None:
    assert allowed_values(Group.model_fields[name]) == values


def test_comment_lists_choices_behind_the_meaning() -> None:
    fields: dict[str, FieldInfo] = Group.model_fields
    assert comment(fields["bounded"]) == "a number"
    assert comment(fields["registered"]) == "of a registry [one, two]"
    assert comment(fields["formed"]) == "typed in its own form [32, 16x24, [16,24], null]"


def test_comments_leave_values_and_other_lines_alone() -> None:
    text = "# head\nmodel:\n  K: 8 # old\n  L: 3\n  unknown: 1\n\nseed: 0\n"
    assert with_comments(text) == (
        "# head\nmodel:\n  K: 8 # steps of flow per level\n  L: 3 # levels; each halves both sides of the image\n"
        "  unknown: 1\n\nseed: 0 # seed of every random draw\n"
    )


def test_table_stands_between_its_marks() -> None:
    before, after = "# Parameters\n\n", "\nMore.\n"
    marks = "<!-- The table is written by `make docs`. -->\n", "<!-- End of the table. -->\n"
    text = with_table(before + marks[0] + "an older table\n" + marks[1] + after)
    assert text.startswith(before + marks[0] + "| parameter | default | values | on resume | meaning |\n")
    assert text.endswith("|\n" + marks[1] + after)
    assert "an older table" not in text
    assert "| `model.L` | `3` | integer >= 1 and <= 16 |  | levels; each" in text
    assert "| `train.nodes` | `1` | integer >= 1 | may change | machines" in text
    assert with_table(text) == text

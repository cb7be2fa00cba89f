"""Documentation of the parameters, written from their fields.

`python -m glow_pipeline.parameters.documentation PROJECT` (or `make docs`) rewrites the table in docs/parameters.md and
the comments in conf/base/parameters*.yml.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from glow_pipeline.files import replaced_between
from glow_pipeline.parameters.group import OneOf
from glow_pipeline.parameters.names import all_fields, as_typed, changeable_on_resume

START = "<!-- The table is written by `make docs`. -->\n"
END = "<!-- End of the table. -->\n"
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}  # Pydantic's names
KINDS = {int: "integer", float: "number", str: "text", dict: "mapping"}


def documented(project: Path) -> dict[Path, str]:
    """Return the path and up-to-date text of each file that documents parameters."""
    table_path = project / "docs" / "parameters.md"
    files = {table_path: with_table(table_path.read_text(encoding="utf-8"))}
    for path in sorted((project / "conf" / "base").glob("parameters*.yml")):
        files[path] = with_comments(path.read_text(encoding="utf-8"))
    return files


def with_table(text: str) -> str:
    """Return the text of docs/parameters.md with an up-to-date table between its two marks."""
    return replaced_between(text, START, END, table())


def table() -> str:
    """Return a Markdown table of all parameters."""
    changeable = changeable_on_resume()
    rows = ["| parameter | default | values | on resume | meaning |", "|---|---|---|---|---|"]
    for name, field in all_fields().items():
        resume = "may change" if name in changeable else ""
        values = ", ".join(allowed_values(field))
        default = json.dumps(field.default) if isinstance(field.default, dict) else as_typed(field.default)
        rows.append(f"| `{name}` | `{default}` | {values} | {resume} | {field.description} |")
    return "\n".join(rows) + "\n"


def with_comments(text: str) -> str:
    """Return the text of a conf/base/parameters*.yml with an up-to-date comment behind each parameter's value."""
    fields = all_fields()
    lines, group = [], ""
    for line in text.splitlines():
        key = re.match(r"( *)(\w+):", line)
        if key is not None and not key[1]:
            group = key[2]
        name = None if key is None else f"{group}.{key[2]}" if key[1] else group
        lines.append(f"{line.partition(' # ')[0]} # {comment(fields[name])}" if name in fields else line)
    return "\n".join(lines) + "\n"


def comment(field: FieldInfo) -> str:
    """Return what a parameter means, and its values if they are more than a type with bounds."""
    listed = field.examples or any(is_choice for _, is_choice in _values(field.annotation, field.metadata))
    return f"{field.description}" + (f" [{', '.join(allowed_values(field))}]" if listed else "")


def allowed_values(field: FieldInfo) -> list[str]:
    """Return a field's choices, examples, or types with bounds, as they are typed."""
    if field.examples:
        return [as_typed(example) for example in field.examples] + ["null"] * (NoneType in get_args(field.annotation))
    return [word for word, _ in _values(field.annotation, field.metadata)]


def _values(annotation: Any, marks: Sequence[object]) -> Iterator[tuple[str, bool]]:
    """Yield each choice with True, and each kind of value, with its bounds, with False."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    choice = next((mark for mark in marks if isinstance(mark, OneOf)), None)
    if origin is Annotated:
        inner = [mark for outer in arguments[1:] for mark in getattr(outer, "metadata", [outer])]
        yield from _values(arguments[0], [*marks, *inner])
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from _values(argument, marks)
    elif origin is Literal:
        yield from ((as_typed(value), True) for value in arguments)
    elif origin is list:
        items = list(_values(arguments[0], marks))
        yield f"list of {' or '.join(word for word, _ in items)}", any(is_choice for _, is_choice in items)
    elif annotation is NoneType:
        yield "null", False
    elif annotation is bool:
        yield from (("true", True), ("false", True))
    elif choice is not None:
        yield from ((name, True) for name in ([choice.shown] if choice.shown else choice.names))
    else:
        yield _bounded(KINDS[origin or annotation], marks), False


def _bounded(kind: str, marks: Sequence[object]) -> str:
    bounds = [
        f"{sign} {as_typed(getattr(mark, name))}"
        for mark in marks
        for name, sign in BOUNDS.items()
        if hasattr(mark, name)
    ]
    return " ".join([kind, " and ".join(bounds)]).strip()


if __name__ == "__main__":
    for path, text in documented(Path(sys.argv[1])).items():
        path.write_text(text, encoding="utf-8")

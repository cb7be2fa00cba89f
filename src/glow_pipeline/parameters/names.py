"""The names of all parameters, and the form in which they are typed."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic.fields import FieldInfo

from glow_pipeline.parameters.group import ChangeableOnResume, ParameterGroup
from glow_pipeline.parameters.root import Parameters


def group_of(field: FieldInfo) -> type[ParameterGroup] | None:
    """Return the class of a group of parameters; None for a single parameter."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, ParameterGroup) else None


def all_fields() -> dict[str, FieldInfo]:
    """Return the field of every parameter by the name that is typed: `dataset`, `model.K`, ..."""
    fields: dict[str, FieldInfo] = {}
    for name, field in Parameters.model_fields.items():
        group = group_of(field)
        fields |= {name: field} if group is None else {f"{name}.{leaf}": f for leaf, f in group.model_fields.items()}
    return fields


def known_names() -> list[str]:
    """Return every parameter's name."""
    return list(all_fields())


def changeable_on_resume() -> frozenset[str]:
    """Return the names of the parameters that may change when a training is resumed.

    They set how long a training is, how it is computed and watched, and what comes after it. The others decide what is
    learned: with another value it is another training.
    """
    marked = {name for name, field in Parameters.model_fields.items() if _is_changeable(field)}
    return frozenset(
        name for name, field in all_fields().items() if _is_changeable(field) or name.partition(".")[0] in marked
    )


def _is_changeable(field: FieldInfo) -> bool:
    return any(isinstance(mark, ChangeableOnResume) for mark in field.metadata)


def nearest(name: object, known: list[str]) -> str:
    """Return `did you mean ...?`, or all known names where none is similar."""
    same_leaf = [candidate for candidate in known if candidate.rpartition(".")[2] == name]
    close = same_leaf or get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    if known == known_names():
        return "docs/parameters.md has all that are known"
    return f"known are {', '.join(known)}"


def as_typed(value: object) -> str:
    """Return a value as it is typed on the command line: text as it is, others as in JSON (`null`, `[0,1]`)."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def flattened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat

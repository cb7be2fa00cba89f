"""From configuration to parameters, or to the one line that says what is wrong with it."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.parameters.cross_checks import check_together
from glow_pipeline.parameters.ranges import Range
from glow_pipeline.parameters.root import Parameters


def parse_parameters(raw: dict[str, Any]) -> Parameters:
    """Raw configuration -> checked parameters.

    Raises:
        GlowPipelineError: one line about the first thing that is wrong.
    """
    try:
        parameters = Parameters.model_validate(raw)
    except ValidationError as invalid:
        wrong: dict[str, list[ErrorDetails]] = {}
        for error in invalid.errors():
            wrong.setdefault(_key(error), []).append(error)
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise GlowPipelineError(_one_line(*next(iter(wrong.items()))) + more) from None
    check_together(parameters)
    return parameters


def with_values(parameters: Parameters, values: Mapping[str, object]) -> Parameters:
    """These parameters with some, by their dotted names, set to other values; checked as `parse_parameters` does."""
    raw = parameters.model_dump()
    for name, value in values.items():
        group, _, leaf = name.partition(".")
        raw[group][leaf] = value
    return parse_parameters(raw)


def known_names() -> list[str]:
    """Every parameter as it is typed: `dataset`, `model.K`, ..."""
    names = []
    for name, field in Parameters.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            names += [f"{name}.{leaf}" for leaf in group.model_fields]
        else:
            names.append(name)
    return names


def _key(error: ErrorDetails) -> str:
    """The parameter's name. What Pydantic adds to it, which of several allowed types it tried, is none of its parts."""
    parts = [str(part) for part in error["loc"]]
    return ".".join(parts if parts[:2] == ["search", "ranges"] else parts[:2])


def _one_line(key: str, errors: list[ErrorDetails]) -> str:
    """Of one parameter; several errors are what each of its allowed types has against the value."""
    error, value = errors[0], errors[0]["input"]
    if error["type"] == "extra_forbidden":
        shown = value if isinstance(value, str) and value.isprintable() else repr(value)
        if key.startswith("search.ranges."):
            return f"{key}={shown}: unknown; {nearest(key.rpartition('.')[2], list(Range.model_fields))}"
        return f"{key}={shown}: unknown parameter; {nearest(key, known_names())}"
    if error["type"] == "model_type" and key in Parameters.model_fields:
        leaf = next(name.partition(".")[2] for name in known_names() if name.startswith(f"{key}."))
        return f"{key}={value!r}: should be a group of parameters, as `{key}: {{{leaf}: ...}}`"
    if error["type"] == "invalid_key":
        return f"{key}: should be a name; {nearest(key, known_names())}"
    allowed = " or ".join(dict.fromkeys(error["msg"].removeprefix("Input should be ") for error in errors))
    hint = f"; {nearest(value, list(SOURCES))}" if error["type"] == "source" else ""
    return f"{key}={value!r}: should be {allowed}{hint}"


def nearest(name: object, known: list[str]) -> str:
    """Return `did you mean ...?`, or all that are known where nothing is like it."""
    same_leaf = [candidate for candidate in known if candidate.rpartition(".")[2] == name]
    close = same_leaf or get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    if known == known_names():
        return "docs/parameters.md has all that are known"
    return f"known are {', '.join(known)}"

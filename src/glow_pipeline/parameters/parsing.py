"""Parsing of configuration into parameters, with one line about the first error."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters.cross_checks import check_combinations
from glow_pipeline.parameters.names import known_names, nearest
from glow_pipeline.parameters.root import Parameters
from glow_pipeline.parameters.search import Range


def parse_parameters(raw: dict[str, Any]) -> Parameters:
    """Check configuration, field by field and across fields, and return it as parameters.

    Raises:
        GlowPipelineError: one line about the first error, with the number of others.
    """
    try:
        parameters = Parameters.model_validate(raw)
    except ValidationError as invalid:
        errors: dict[str, list[ErrorDetails]] = {}
        for error in invalid.errors():
            errors.setdefault(_key(error), []).append(error)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise GlowPipelineError(_one_line(*next(iter(errors.items()))) + more) from None
    check_combinations(parameters)
    return parameters


def with_values(parameters: Parameters, values: Mapping[str, object]) -> Parameters:
    """Return the parameters with other values, given by dotted names and checked as in `parse_parameters`."""
    raw = parameters.model_dump()
    for name, value in values.items():
        group, _, leaf = name.partition(".")
        raw[group][leaf] = value
    return parse_parameters(raw)


def _key(error: ErrorDetails) -> str:
    """Return the parameter's name, without the allowed type that Pydantic appends for unions."""
    parts = [str(part) for part in error["loc"]]
    return ".".join(parts if parts[:2] == ["search", "ranges"] else parts[:2])


def _one_line(key: str, errors: list[ErrorDetails]) -> str:
    """Describe the errors of one parameter: one for each type that it may have."""
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
    offered = error["ctx"]["offered"] if error["type"] == "one_of" else []
    hint = f"; {nearest(value, offered)}" if offered else ""
    return f"{key}={value!r}: should be {allowed}{hint}"

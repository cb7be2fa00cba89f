"""Type of the parameters that take several names of a registry."""

from functools import partial
from typing import Annotated, TypeVar

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.registry import ALL, Choice, Registry

C = TypeVar("C", bound=Choice)


def _names(registry: Registry[C], value: object) -> object:
    """Split `nll+complexity` at each `+` and replace `all` by every name; a list stays as it is."""
    names = value.split("+") if isinstance(value, str) else value
    if names in (ALL, [ALL]):
        return list(registry)
    if not isinstance(names, list) or not names:
        raise PydanticCustomError("choices", "Input should be {rule}", {"rule": _several(registry)})
    for name in names:
        if not isinstance(name, str) or name not in registry:  # a list cannot be looked up
            rule = _several(registry) + _hint(registry, name)
            raise PydanticCustomError("choices", "Input should be {rule}", {"rule": rule})
    return list(dict.fromkeys(names))


def _several(registry: Registry[C]) -> str:
    joined = f", several as {'+'.join(list(registry)[:2])}" if len(registry) > 1 else ""
    return f"{registry.quoted()}{joined}, or '{ALL}'"


def _hint(registry: Registry[C], name: object) -> str:
    nearest = registry.nearest(name) if isinstance(name, str) else None
    return f"; did you mean {nearest}?" if nearest else ""


ScoreNames = Annotated[list[str], BeforeValidator(partial(_names, SCORES))]

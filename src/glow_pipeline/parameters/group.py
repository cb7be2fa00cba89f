"""The base of all groups of parameters, and the two marks that a field may carry."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

T = TypeVar("T")


class ParameterGroup(BaseModel):
    """Parameters that belong together. Values are never converted, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ChangeableOnResume:
    """Mark of a parameter whose value may change when a training is resumed."""


Changeable = Annotated[T, ChangeableOnResume()]


def split_at_plus(value: object) -> object:
    """Split `nll+complexity` into a list of names; return any value but a text as it is."""
    return value.split("+") if isinstance(value, str) else value


@dataclass(frozen=True, eq=False)  # hashed by identity, as parts of type annotations are
class OneOf:
    """A choice of one name out of a registry, read at each check: names may be registered later.

    Attributes:
        names: the registry, or any other collection of names.
        shown: how error messages and documentation name the choices; empty: one by one.
    """

    names: Collection[str]
    shown: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def _check(self, name: object) -> object:
        if isinstance(name, str) and name in self.names:
            return name
        *most, last = map(repr, self.names)
        listed = f"{', '.join(most)} or {last}" if most else last
        typed = isinstance(name, str) and (self.shown or get_close_matches(name, self.names, n=1, cutoff=0.5))
        offered = list(self.names) if typed else []
        raise PydanticCustomError(
            "one_of", "Input should be {shown}", {"shown": self.shown or listed, "offered": offered}
        )

"""The parameters of a search for better parameters: `search.*`."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, field_serializer, field_validator, model_validator
from pydantic_core import PydanticCustomError

from glow_pipeline.parameters.group import ParameterGroup


def _check_number(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise PydanticCustomError("number", "Input should be a finite number")


def _check_choices(value: object) -> object:
    if (
        isinstance(value, list)
        and all(choice is None or isinstance(choice, bool | int | float | str) for choice in value)
        and 0 < len(value) == len({repr(choice) for choice in value})
    ):
        return value
    raise PydanticCustomError("choices", "Input should be a list of different numbers, words, true, false or null")


Number = Annotated[int | float, PlainValidator(_check_number)]
Choices = Annotated[list[bool | int | float | str | None], PlainValidator(_check_choices)]


class Range(ParameterGroup):
    """The values that a search may give one parameter: any from low to high, or one of the choices."""

    low: Number | None = None
    high: Number | None = None
    step: Annotated[Number, Field(gt=0)] | None = None
    log: bool | None = None
    choices: Choices | None = None

    @model_validator(mode="after")
    def _check_ends(self) -> Self:
        if self.choices is not None:
            if (self.low, self.high, self.step, self.log) != (None,) * 4:
                raise PydanticCustomError(
                    "range",
                    "Input should be choices alone; set to null what another file has of low, high, step and log",
                )
            return self
        if self.low is None or self.high is None or self.low >= self.high:
            raise PydanticCustomError("range", "Input should be a low and a higher high, or choices")
        if self.log and self.step is not None:
            raise PydanticCustomError("range", "Input should be in steps or logarithmic, not both")
        if self.log and self.low <= 0:
            raise PydanticCustomError("range", "Input should be above 0 to be logarithmic")
        if self.step and (Decimal(str(self.high)) - Decimal(str(self.low))) % Decimal(str(self.step)):
            raise PydanticCustomError("range", "Input should be a high that whole steps lead to")
        return self


RANGES: dict[str, dict[str, Any] | None] = {
    "train.lr": {"low": 1e-4, "high": 5e-3, "log": True},
    "model.K": {"low": 4, "high": 16, "step": 4},
    "model.hidden_channels": {"choices": [32, 64, 128]},
}


class SearchParameters(ParameterGroup):
    """The search."""

    n_trials: int = Field(
        20, ge=1, description="trials to finish, including those of earlier commands and other machines"
    )
    study: str | None = Field(
        None, min_length=1, description="name of the search; null: the images and a digest of all that trials depend on"
    )
    storage: str = Field(
        "sqlite:///data/06_models/optuna.db",
        description="database of the search, as SQLAlchemy writes its address; $NAME comes from the environment",
    )
    ranges: dict[str, Range | None] = Field(
        RANGES,
        validate_default=True,
        description="parameters of model and train to search; each has low and high with log or step, or choices; "
        "null: not searched",
    )
    pruner: Literal["median", "none"] = Field(
        "median", description="median: stop trials that are worse than half of the finished ones; none: stop no trial"
    )
    warmup_epochs: int = Field(5, ge=0, description="epochs of each trial before it may be pruned")
    startup_trials: int = Field(5, ge=0, description="trials to complete before any is pruned")

    @field_validator("ranges", mode="before")
    @classmethod
    def _merge_typed(cls, ranges: object) -> object:
        """Merge {"train": {"lr": {"high": 0.01}}}, as `search.ranges.train.lr.high=0.01` arrives, into "train.lr"."""
        if not isinstance(ranges, dict):
            return ranges
        groups = {
            name: value
            for name, value in ranges.items()
            if isinstance(value, Mapping) and "." not in str(name) and not set(value) & set(Range.model_fields)
        }
        flat = {name: value for name, value in ranges.items() if name not in groups}
        for group, typed in groups.items():
            for leaf, value in typed.items():
                name = f"{group}.{leaf}"
                flat[name] = {**(flat.get(name) or {}), **value} if isinstance(value, Mapping) else value
        return flat

    @field_serializer("ranges")
    def _dump_given(self, ranges: dict[str, Range | None]) -> dict[str, Any]:
        return {name: given and given.model_dump(exclude_unset=True) for name, given in ranges.items()}

    @property
    def searched(self) -> dict[str, Range]:
        """The ranges that are not null, sorted by name."""
        return {name: given for name, given in sorted(self.ranges.items()) if given is not None}

"""The search space: from ranges to the parameters of one trial."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from glow_pipeline.errors import GlowPipelineError, NotAllowedError
from glow_pipeline.parameters import Parameters, Range, known_names, nearest, with_values

if TYPE_CHECKING:
    from optuna import Trial

# Bits per dimension cannot be compared between trials with other images, with fewer bits, or with and without classes.
NOT_COMPARABLE = {
    "model.n_bits": "all have the same images",
    "model.y_condition": "bits per dimension given the class are not comparable with others",
}
PER_DEVICE = "train.batch_size_per_device"


def extremes(parameters: Parameters) -> Iterator[Parameters]:
    """Yield valid parameters with each searched one at either end of its range, or at each of its choices.

    Raises:
        GlowPipelineError: a range is of a parameter that cannot be searched, or has an end that is not allowed, neither
            with the values that are set nor with an end of another range.
    """
    ranges = parameters.search.searched
    if not ranges:
        raise GlowPipelineError("search.ranges={}: nothing to search; give a range to a parameter of model or train")
    for name, given in ranges.items():
        _check_name(name, parameters)
        for end in _ends(given):
            yield _with_end(parameters, name, end)
        if given.choices is None and _is_integer(parameters, name, given) and not isinstance(given.step, int | None):
            raise GlowPipelineError(f"search.ranges.{name}.step={given.step}: should be whole, as {name} is")


def _ends(given: Range) -> list[object]:
    return [given.low, given.high] if given.choices is None else [*given.choices]


def _with_end(parameters: Parameters, name: str, end: object) -> Parameters:
    try:
        return with_values(parameters, {name: end})
    except GlowPipelineError as error:
        refused = error
    for other, given in parameters.search.searched.items():
        for value in _ends(given) if other != name else []:
            with suppress(GlowPipelineError):
                return with_values(parameters, {other: value, name: end})
    raise GlowPipelineError(f"search.ranges: {refused}")


def suggest(trial: "Trial", parameters: Parameters) -> Parameters:
    """Return the parameters with each searched one at the value that the study proposes to this trial.

    Raises:
        NotAllowedError: the proposed values are not allowed together.
    """
    searched = parameters.search.searched
    values = {name: _value(trial, parameters, name, given) for name, given in searched.items()}
    with raise_not_allowed():
        return with_values(parameters, values)


@contextmanager
def raise_not_allowed() -> Iterator[None]:
    """Turn a GlowPipelineError within the block into a NotAllowedError, after which other values are tried."""
    try:
        yield
    except GlowPipelineError as error:
        raise NotAllowedError(str(error)) from None


def _value(trial: "Trial", parameters: Parameters, name: str, given: Range) -> object:
    if given.choices is not None:
        return trial.suggest_categorical(name, given.choices)
    assert given.low is not None
    assert given.high is not None
    log = bool(given.log)
    if _is_integer(parameters, name, given):
        return trial.suggest_int(name, int(given.low), int(given.high), step=int(given.step or 1), log=log)
    return trial.suggest_float(name, float(given.low), float(given.high), step=given.step, log=log)


def _is_integer(parameters: Parameters, name: str, given: Range) -> bool:
    """Return whether the parameter takes integers only; validation turns the numbers of all others into floats."""
    group, _, leaf = name.partition(".")
    alone = type(getattr(parameters, group)).model_validate({leaf: given.low})
    return isinstance(getattr(alone, leaf), int)


def _check_name(name: str, parameters: Parameters) -> None:
    per_device = parameters.train.batch_size_per_device
    if name == PER_DEVICE or (name == "train.batch_size" and per_device is not None):
        beside = "" if name == PER_DEVICE else f" with {PER_DEVICE}={per_device}"
        raise GlowPipelineError(
            f"search.ranges.{name}: cannot be searched{beside}; search train.batch_size, with {PER_DEVICE}=null"
        )
    searchable = [
        known for known in known_names() if known.startswith(("model.", "train.")) and known not in NOT_COMPARABLE
    ]
    if name in searchable:
        return
    if name in known_names():
        raise GlowPipelineError(
            f"search.ranges.{name}: cannot be searched; trials differ in parameters of model and train"
            + (f", and {NOT_COMPARABLE[name]}" if name in NOT_COMPARABLE else "")
        )
    raise GlowPipelineError(f"search.ranges.{name}: unknown parameter; {nearest(name, searchable)}")

"""Ranges of a search."""

import math

import pytest

from glow_pipeline.parameters import parse_parameters
from tests.parameters.helpers import refusal

LR = "train.lr"


@pytest.mark.parametrize(
    ("ranges", "line"),
    [
        ({LR: {"low": "x", "high": 1}}, "search.ranges.train.lr.low='x': should be a finite number"),
        ({LR: {"low": True, "high": 1}}, "search.ranges.train.lr.low=True: should be a finite number"),
        ({LR: {"low": 0, "high": math.inf}}, "search.ranges.train.lr.high=inf: should be a finite number"),
        ({LR: {"low": 2, "high": 1}}, "should be a low and a higher high, or choices"),
        ({LR: {"low": 2}}, "should be a low and a higher high, or choices"),
        ({LR: {}}, "should be a low and a higher high, or choices"),
        ({LR: {"low": 1, "hi": 2}}, "search.ranges.train.lr.hi=2: unknown; did you mean high?"),
        ({LR: {"low": 0, "high": 1, "log": True}}, "should be above 0 to be logarithmic"),
        ({LR: {"low": 1, "high": 2, "log": True, "step": 1}}, "in steps or logarithmic, not both"),
        ({LR: {"low": 1, "high": 2, "step": -1}}, "search.ranges.train.lr.step=-1: should be greater than 0"),
        ({LR: {"low": 0.1, "high": 0.5, "step": 0.3}}, "should be a high that whole steps lead to"),
        ({LR: {"low": 1, "high": 2, "choices": [1]}}, "should be choices alone; set to null"),
        ({LR: {"choices": []}}, "should be a list of different numbers, words"),
        ({LR: {"choices": [1, 1]}}, "should be a list of different numbers, words"),
        ({LR: {"choices": [[1]]}}, "should be a list of different numbers, words"),
        ({LR: 3}, "search.ranges.train.lr=3: should be"),
        ({"train": {"lr": 3}}, "search.ranges.train.lr=3: should be"),
        ({"train": 3}, "search.ranges.train=3: should be"),
        (3, "search.ranges=3: should be"),
    ],
)
def test_invalid_range_is_refused(ranges: object, line: str) -> None:
    assert line in refusal({"search": {"ranges": ranges}})


def test_steps_of_tenths_are_exact() -> None:
    parsed = parse_parameters({"search": {"ranges": {"train.decay": {"low": 0.1, "high": 0.7, "step": 0.1}}}})
    assert parsed.search.searched["train.decay"].step == 0.1


def test_typed_range_is_merged_with_configuration() -> None:
    configured = {"train.lr": {"low": 1, "high": 2, "log": True}, "model.K": {"choices": [1, 2]}}
    typed = {"train": {"lr": {"high": 3}, "decay": {"low": 0, "high": 1}}, "model": {"K": None}}
    parsed = parse_parameters({"search": {"ranges": {**configured, **typed}}})
    searched = {name: given.model_dump(exclude_unset=True) for name, given in parsed.search.searched.items()}
    assert searched == {"train.decay": {"low": 0, "high": 1}, "train.lr": {"low": 1, "high": 3, "log": True}}

"""The scores to compute, by names of a registry."""

from collections.abc import Iterator

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import OodParameters, parse_parameters
from glow_pipeline.parameters.command_line import parse_typed
from tests.outliers.toy_scores import Brightness, registered


@pytest.fixture
def brightness() -> Iterator[None]:
    with registered(Brightness()):
        yield


def names(typed: str) -> list[str]:
    return parse_parameters(parse_typed([typed])).ood.score_names


def test_default_score_is_the_negative_log_likelihood() -> None:
    assert OodParameters().score_names == ["nll"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ood.scores=nll+brightness", ["nll", "brightness"]),
        ("ood.scores=brightness+nll+brightness", ["brightness", "nll"]),
        ("ood.scores=[nll,brightness]", ["nll", "brightness"]),
        ("ood.scores=brightness", ["brightness"]),
        ("ood.scores=all", ["nll", "brightness"]),
        ("ood.scores=all,ood.score=brightness", ["brightness", "nll"]),
        ("ood.score=brightness", ["brightness", "nll"]),
    ],
)
def test_scores_are_typed_by_name(brightness: None, typed: str, expected: list[str]) -> None:
    assert names(typed) == expected


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (
            "ood.scores=nll+brightnes",
            "ood.scores='brightnes': should be 'nll' or 'brightness'; did you mean brightness?",
        ),
        ("ood.scores=[[nll]]", "ood.scores=['nll']: should be 'nll' or 'brightness'"),
        ("ood.scores=[]", "ood.scores=[]: should be 'nll' or 'brightness'"),
        ("ood.scores=nll+", "ood.scores='': should be 'nll' or 'brightness'"),
        ("ood.scores=", "--params: ood.scores=: no value; write one, or null, or leave it out"),
        ("ood.score=nl", "ood.score='nl': should be 'nll' or 'brightness'; did you mean nll?"),
        (
            "sample.mode=interpolat",
            "sample.mode='interpolat': should be 'normal', 'vtemp' or 'interpolate'; did you mean interpolate?",
        ),
    ],
)
def test_unknown_names_are_refused_in_one_line(brightness: None, typed: str, line: str) -> None:
    with pytest.raises(GlowPipelineError) as raised:
        names(typed)
    assert str(raised.value) == line

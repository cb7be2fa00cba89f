"""The scores to compute, by names of a registry."""

from collections.abc import Iterable, Iterator

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scores.registry import RECOMMENDED
from glow_pipeline.parameters import OodParameters, parse_parameters
from glow_pipeline.parameters.command_line import parse_typed
from glow_pipeline.sampling import MODES
from tests.outliers.toy_scores import Brightness, registered


@pytest.fixture
def brightness() -> Iterator[None]:
    with registered(Brightness()):
        yield


def names(typed: str) -> list[str]:
    return parse_parameters(parse_typed([typed])).ood.score_names


ONE_PASS_SCORES = [name for name, score in SCORES.items() if score.cost == "one pass"]
OF_ONE_MODEL = [name for name, score in SCORES.items() if score.needs is None]
SCORE_CHOICES = f"{', '.join(map(repr, SCORES))} or 'brightness'"
*FIRST_MODES, LAST_MODE = map(repr, MODES)
MODE_CHOICES = f"{', '.join(FIRST_MODES)} or {LAST_MODE}"
CHOICES = f"{', '.join(map(repr, SCORES))}, 'brightness', 'one_pass' or 'all'"


def main_first(name: str, names: Iterable[str]) -> list[str]:
    return [name, *(other for other in names if other != name)]


def test_default_scores_need_one_pass() -> None:
    assert OodParameters().scores == ["one_pass"]
    assert OodParameters().score_names == main_first(RECOMMENDED, ONE_PASS_SCORES)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ood.score=null,ood.scores=nll+brightness", ["nll", "brightness"]),
        ("ood.score=null,ood.scores=brightness+nll+brightness", ["brightness", "nll"]),
        ("ood.score=null,ood.scores=[nll,brightness]", ["nll", "brightness"]),
        ("ood.score=null,ood.scores=brightness", ["brightness"]),
        ("ood.score=nll,ood.scores=brightness", ["nll", "brightness"]),
        ("ood.scores=nll", [RECOMMENDED, "nll"]),
        ("ood.score=brightness,ood.scores=all", main_first("brightness", OF_ONE_MODEL)),
        ("ood.score=brightness", main_first("brightness", ONE_PASS_SCORES)),
        ("ood.score=nll,ood.scores=[brightness,one_pass]", main_first("nll", ["brightness", *ONE_PASS_SCORES])),
    ],
)
def test_scores_are_typed_by_name(brightness: None, typed: str, expected: list[str]) -> None:
    assert names(typed) == expected


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (
            "ood.scores=nll+brightnes",
            f"ood.scores='brightnes': should be {CHOICES}; did you mean brightness?",
        ),
        ("ood.scores=[[nll]]", f"ood.scores=['nll']: should be {CHOICES}"),
        ("ood.scores=[]", f"ood.scores=[]: should be {CHOICES}"),
        ("ood.scores=nll+", f"ood.scores='': should be {CHOICES}"),
        ("ood.scores=", "--params: ood.scores=: no value; write one, or null, or leave it out"),
        ("ood.score=nl", f"ood.score='nl': should be {SCORE_CHOICES}; did you mean nll?"),
        (
            "sample.mode=interpolat",
            f"sample.mode='interpolat': should be {MODE_CHOICES}; did you mean interpolate?",
        ),
    ],
)
def test_unknown_names_are_refused_in_one_line(brightness: None, typed: str, line: str) -> None:
    with pytest.raises(GlowPipelineError) as raised:
        names(typed)
    assert str(raised.value) == line


NEED_OTHERS = {name for name, score in SCORES.items() if score.needs is not None}


@pytest.mark.parametrize(
    ("typed", "left_out"),
    [
        ("ood.scores=all", {"likelihood_ratio": "ood.background", "waic": "ood.ensemble"}),
        ("ood.scores=all,ood.background=x", {"waic": "ood.ensemble"}),
        ("ood.scores=all,ood.background=x,ood.ensemble=x+y", {}),
        ("ood.scores=nll", {}),
    ],
)
def test_all_leaves_out_scores_without_their_models(typed: str, left_out: dict[str, str]) -> None:
    ood = parse_parameters(parse_typed([typed])).ood
    assert ood.left_out == left_out
    if ood.scores == ["all"]:
        assert set(ood.score_names) == set(SCORES) - set(left_out)


def test_typed_score_is_never_left_out() -> None:
    assert {"waic", "likelihood_ratio"} == NEED_OTHERS
    assert set(names("ood.scores=all+waic")) == set(SCORES) - {"likelihood_ratio"}
    assert set(names("ood.scores=all,ood.score=waic")) == set(SCORES) - {"likelihood_ratio"}


def test_ensemble_is_two_models_or_more() -> None:
    assert parse_parameters(parse_typed(["ood.ensemble=a+b/c.safetensors+d"])).ood.ensemble == [
        "a",
        "b/c.safetensors",
        "d",
    ]
    with pytest.raises(GlowPipelineError, match=r"^ood\.ensemble="):
        parse_parameters(parse_typed(["ood.ensemble=a"]))

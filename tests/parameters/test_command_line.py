"""Values typed after --params arrive as typed, or are refused in one line."""

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import known_names, parse_parameters
from glow_pipeline.parameters.command_line import NEXT_ITEM, parse_typed


def refusal(*texts: str) -> str:
    with pytest.raises(GlowPipelineError) as error:
        parse_typed(texts)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("seed=1", {"seed": 1}),
        ("seed=1, model.K=4 ,train.lr=1e-3", {"seed": 1, "model": {"K": 4}, "train": {"lr": 1e-3}}),
        ("seed=010", {"seed": 10}),
        ("train.lr=.5,train.decay=1", {"train": {"lr": 0.5, "decay": 1}}),
        ("ingest.size=16x24", {"ingest": {"size": "16x24"}}),
        ("ingest.size=[16,24],seed=1", {"ingest": {"size": [16, 24]}, "seed": 1}),
        ("ingest.size=[16, 24]", {"ingest": {"size": [16, 24]}}),
        ("ingest.classes=[0]", {"ingest": {"classes": [0]}}),
        ("ingest.classes=0-4+7", {"ingest": {"classes": "0-4+7"}}),
        ("ingest.classes=null,ingest.path=null", {"ingest": {"classes": None, "path": None}}),
        ("model.y_condition=yes,train.flip=Off", {"model": {"y_condition": True}, "train": {"flip": False}}),
        ("train.compile=auto,train.data_on_device=true", {"train": {"compile": "auto", "data_on_device": True}}),
        ("train.checkpoint_every=500steps", {"train": {"checkpoint_every": "500steps"}}),
        ("train.checkpoint_every=1:30", {"train": {"checkpoint_every": "1:30"}}),
        ("train.devices=2", {"train": {"devices": 2}}),
        ("search.pruner=none", {"search": {"pruner": "none"}}),
        ("search.ranges.model.K=null", {"search": {"ranges": {"model": {"K": None}}}}),
        (
            "search.ranges.train.lr={low: 0.1, high: 0.2, log: true},seed=1",
            {"search": {"ranges": {"train": {"lr": {"low": 0.1, "high": 0.2, "log": True}}}}, "seed": 1},
        ),
        ("model={K: 2, flow_coupling: additive}", {"model": {"K": 2, "flow_coupling": "additive"}}),
        ("model=2024,seed=1", {"model": "2024", "seed": 1}),
        ("model=~/lungs, 2/glow.safetensors", {"model": "~/lungs, 2/glow.safetensors"}),
        ("search.storage=postgresql://u:p@h/db?a=1,b", {"search": {"storage": "postgresql://u:p@h/db?a=1,b"}}),
        ("", {}),
        (" ", {}),
    ],
)
def test_values_are_parsed_by_their_parameters_type(typed: str, values: dict[str, Any]) -> None:
    parsed = parse_typed([typed])
    assert parsed == values
    assert repr(parsed) == repr(values)  # 1 is not true, nor 1.0


@pytest.mark.parametrize(
    "path",
    [
        "/set #2",
        "/run: 3",
        "/a,b",
        "/a, b,",
        "/x${y}",
        "2024",
        "1e3",
        "0x10",
        "yes",
        "None",
        "~",
        "~/images",
        "[a]",
        "{b}",
        "*x",
        "&x",
        "!x",
        "a=b",
        "a'b",
        "%41",
        "ä/日本",
        "a\nb",
        "\\n",
        "- a",
        "? a",
        "|",
    ],
)
def test_path_arrives_as_typed(path: str) -> None:
    assert parse_typed([f"dataset=folder,ingest.path={path},seed=1"]) == {
        "dataset": "folder",
        "ingest": {"path": path},
        "seed": 1,
    }


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=12))
@example("???")
@example("a,b=c")
@example("'")
@example(" a")
@example("")
def test_any_text_is_parsed_or_refused(path: str) -> None:
    try:
        parsed = parse_typed([f"ingest.path={path}"])["ingest"]["path"]
    except GlowPipelineError:
        assert "\n" not in refusal(f"ingest.path={path}")
        return
    quoted = re.fullmatch(r"\s*(['\"])(.*)\1\s*", path, re.DOTALL)
    expected = quoted[2] if quoted else None if path.lower() == "null" else path
    assert parsed == expected or NEXT_ITEM.search(path)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters='"'), max_size=12))
def test_any_text_can_be_typed_in_quotes(path: str) -> None:
    assert parse_typed([f'ingest.path="{path}",seed=1']) == {"ingest": {"path": path}, "seed": 1}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("seed", "--params seed: should be name=value, several with a comma between them: seed=1,model.K=4"),
        ("seed:1", "--params seed:1: should be name=value; write seed=1"),
        ("=1", "--params =1: should be name=value"),
        ("ingest.path=", "--params: ingest.path=: no value; write one, or null, or leave it out"),
        ("seed=,model.K=2", "--params: seed=: no value"),
        ("ingest.path=/a ", "--params: ingest.path='/a ': a space at its begin or end; leave it out, or put the "),
        ("ingest.path='/a", "--params: ingest.path='/a: the quote does not end; close it, or leave it out"),
        ("ingest.path=???", "--params: ingest.path=???: cannot be typed; as a path it is ./???"),
        ("ingest.path=/a\udce9", "--params ingest.path=/a\\udce9: is not UTF-8; rename the file or folder"),
        ("ingest.path=/a,b=c", "--params: b=c: unknown parameter; docs/parameters.md has all that are known"),
        ("seed=1,seed=2", "--params: seed=1 and seed=2: leave one of them out"),
        ("model={K: 2},model.K=3", "--params: model.K=3: is typed as part of its group too; leave one of them out"),
        ("model=2,model.K=3", "--params: model.K=3: model=2 is a trained model, which has its own; leave one of them "),
        ("model.K=3,model=mine", "--params: model.K=3: model=mine is a trained model, which has its own; leave one"),
        ("own=2,own.K=3", "--params: own.K=3: own=2 is typed too; leave one of them out"),
        ("ingest.size=[16", "--params: ingest.size=[16: not a list or mapping: "),
    ],
)
def test_malformed_item_is_refused(typed: str, message: str) -> None:
    assert refusal(typed).startswith(message)


def test_several_params_count_as_one() -> None:
    assert parse_typed(["seed=1", "model.K=2,model.L=3"]) == {"seed": 1, "model": {"K": 2, "L": 3}}
    assert refusal("seed=1", "seed=2") == "--params: seed=1 and seed=2: leave one of them out"


def test_same_value_may_be_typed_twice() -> None:
    assert parse_typed(["seed=1,seed=1"]) == {"seed": 1}


def test_every_default_can_be_typed() -> None:
    """Each default in docs/parameters.md, typed, is parsed as that default."""
    defaults = parse_parameters({})
    typed = []
    for name in known_names():
        group, _, leaf = name.partition(".")
        value = getattr(getattr(defaults, group), leaf) if leaf else getattr(defaults, group)
        if name != "search.ranges":
            typed.append(f"{name}={'null' if value is None else value}")
    assert parse_parameters(parse_typed([",".join(typed)])) == defaults

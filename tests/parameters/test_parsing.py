"""Refusal of invalid values and unknown names, one line each."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import known_names, parse_parameters, with_values
from tests.parameters.helpers import nested, refusal


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("model.hiden_channels", 32, ["model.hiden_channels=32", "did you mean model.hidden_channels?"]),
        ("train.batchsize", 32, ["train.batchsize=32", "did you mean train.batch_size?"]),
        ("sample.nn", 3, ["sample.nn=3", "did you mean sample.n?"]),
        ("datasett", "digits", ["datasett=digits", "did you mean dataset?"]),
        ("zzz", 1, ["zzz=1", "docs/parameters.md has all that are known"]),
        ("model", [1], ["model=[1]: should be a group of parameters, as `model: {K: ...}`"]),
        ("model", None, ["model=None: should be a group of parameters"]),
        ("dataset", "mnst", ["dataset='mnst'", "`make sources`", "did you mean mnist?"]),
        ("out_dataset", "fashion-mnist", ["out_dataset='fashion-mnist'", "did you mean fashionmnist?"]),
        ("dataset", "MNIST", ["dataset='MNIST'", "`make sources`"]),
        ("dataset", 5, ["dataset=5", "make sources"]),
        ("device", "gpu", ["device='gpu'", "'auto', 'cpu', 'cuda' or 'mps'"]),
        ("seed", -1, ["seed=-1", "greater than or equal to 0"]),
        ("seed", 0.5, ["seed=0.5", "integer"]),
        ("model.K", -1, ["model.K=-1", "greater than or equal to 1"]),
        ("model.K", 0, ["model.K=0", "greater than or equal to 1"]),
        ("model.K", "eight", ["model.K='eight'", "integer"]),
        ("model.K", True, ["model.K=True", "integer"]),
        ("model.K", None, ["model.K=None", "integer"]),
        ("model.L", 0, ["model.L=0", "greater than or equal to 1"]),
        ("model.hidden_channels", 1.5, ["model.hidden_channels=1.5", "integer"]),
        ("model.actnorm_scale", 0, ["model.actnorm_scale=0", "greater than 0"]),
        ("model.flow_permutation", "invconf", ["'invconf'", "'invconv', 'shuffle' or 'reverse'"]),
        ("model.flow_coupling", "afine", ["model.flow_coupling='afine'", "'affine' or 'additive'"]),
        ("model.scale_floor", 1, ["model.scale_floor=1", "less than 1"]),
        ("model.scale_floor", -0.1, ["model.scale_floor=-0.1", "greater than or equal to 0"]),
        ("model.LU_decomposed", "yes", ["model.LU_decomposed='yes'", "boolean"]),
        ("model.n_bits", 9, ["model.n_bits=9", "less than or equal to 8"]),
        ("model.n_bits", 0, ["model.n_bits=0", "greater than or equal to 1"]),
        ("model.n_bits", 5, ["model.n_bits=5", "digits", "4 bits", "1 to 4"]),
        ("model.num_classes", 1, ["model.num_classes=1", "greater than or equal to 2"]),
        ("model.L", 4, ["model.L=4", "8x8", "at most 3", "multiple of 16"]),
        ("train.lr", 0, ["train.lr=0", "greater than 0"]),
        ("train.lr", "2e-4x", ["train.lr='2e-4x'", "number"]),
        ("train.lr", math.nan, ["train.lr=nan", "finite number"]),
        ("train.batch_size", 0, ["train.batch_size=0", "greater than or equal to 1"]),
        ("train.max_grad_norm", -1, ["train.max_grad_norm=-1", "greater than or equal to 0"]),
        ("train.sample_and_save_freq", 0, ["train.sample_and_save_freq=0", "greater than or equal to 1"]),
        ("ingest.val_percentage", 100, ["ingest.val_percentage=100", "less than 100"]),
        ("ingest.val_percentage", 0, ["ingest.val_percentage=0", "greater than 0"]),
        ("ingest.calibration_percentage", -1, ["ingest.calibration_percentage=-1", "greater than or equal to 0"]),
        ("ingest.calibration_percentage", 100, ["ingest.calibration_percentage=100", "less than 100"]),
        ("ingest.channels", 2, ["ingest.channels=2", "1 or 3"]),
        ("ingest.fit", "crop", ["ingest.fit='crop'", "'resize' or 'pad'"]),
        ("ingest.size", 0, ["ingest.size=0", "positive whole side, or height x width: 32, 16x24, [16, 24]"]),
        (
            "ingest.size",
            [32, -32],
            ["ingest.size=[32, -32]", "positive whole side, or height x width: 32, 16x24, [16, 24]"],
        ),
        (
            "ingest.size",
            [32, 32, 3],
            ["ingest.size=[32, 32, 3]", "positive whole side, or height x width: 32, 16x24, [16, 24]"],
        ),
        ("ingest.size", [], ["ingest.size=[]", "positive whole side, or height x width: 32, 16x24, [16, 24]"]),
        ("ingest.classes", [], ["ingest.classes=[]", "a class, a range, or several"]),
        ("ingest.classes", "1,2", ["ingest.classes=1,2", "3, 0-4, 0-4+7"]),
        ("ingest.classes", [-1], ["ingest.classes=[-1]", "a class, a range, or several"]),
        ("ingest.classes", "cats", ["ingest.classes=cats", "digits has the classes 0 to 9"]),
        ("ingest.classes", "", ["ingest.classes=''", "cats+dogs"]),
        ("ingest.classes", ["cats", ""], ["ingest.classes=['cats', '']", "cats+dogs"]),
        ("ingest.name", " ", ["ingest.name=' '", "a name, or null"]),
        ("ingest.name", "xrays", ["ingest.name=xrays", "with dataset=folder"]),
        ("ingest.classes", True, ["ingest.classes=True", "a class, a range, or several"]),
        ("ingest.classes", 10, ["ingest.classes=10", "digits has the classes 0 to 9"]),
        ("ood.out_classes", "12-14", ["ood.out_classes=12-14", "textures has the classes 0 to 13"]),
        (
            "ingest.range",
            "4095",
            ["ingest.range='4095'", "a low and a higher high: 0-4095, 0..1, [-1024, 3071]"],
        ),
        ("ingest.range", "4095-0", ["ingest.range='4095-0'", "a low and a higher high"]),
        ("ingest.range", [0, 0], ["ingest.range=[0, 0]", "a low and a higher high"]),
        ("ingest.range", [0, 1, 2], ["ingest.range=[0, 1, 2]", "a low and a higher high"]),
        ("ingest.range", [0, True], ["ingest.range=[0, True]", "a low and a higher high"]),
        ("ingest.range", [0, math.inf], ["ingest.range=[0, inf]", "a low and a higher high"]),
        (
            "ingest.range",
            "0-4095",
            ["ingest.range=[0.0, 4095.0]: counts only with dataset=folder or out_dataset=folder"],
        ),
        ("ingest.background", "grey", ["ingest.background='grey'", "'white' or 'black'"]),
        ("ingest.max_pixels", 0, ["ingest.max_pixels=0", "greater than or equal to 1"]),
        ("ingest.on_unreadable", "ignore", ["ingest.on_unreadable='ignore'", "'stop' or 'skip'"]),
        ("ingest.eval_percentage", 0, ["ingest.eval_percentage=0", "greater than 0"]),
        ("ingest.num_workers", -1, ["ingest.num_workers=-1", "greater than or equal to 0"]),
        ("dataset", "folder", ["ingest.path=null", "dataset=folder needs", "set ingest.path"]),
        (
            "ingest",
            {"path": "cats"},
            ["ingest.path=cats", "with dataset=folder or out_dataset=folder", "ingest.path=null"],
        ),
        ("ingest.eval_path", "cats", ["ingest.eval_path=cats", "with dataset=folder;"]),
        ("ood.out_path", "cats", ["ood.out_path=cats", "with out_dataset=folder;"]),
        ("ingest.classes", "5-3", ["ingest.classes=5-3", "0-4+7"]),
        ("ood.out_classes", -1, ["ood.out_classes=-1", "0-4+7"]),
        ("model.L", 10**9, ["model.L=1000000000", "less than or equal to 16"]),
        ("out_dataset", "folder", ["ood.out_path=null", "out_dataset=folder needs", "set ood.out_path"]),
        ("train.flip", True, ["train.flip=True", "digits", "train.flip=false"]),
        ("sample.mode", "vtmp", ["sample.mode='vtmp'", "'normal', 'vtemp', 'interpolate'"]),
        ("sample.path", "circle", ["sample.path='circle'", "'linear' or 'sphere'"]),
        ("sample.keep_frames", "yes", ["sample.keep_frames='yes'", "a valid boolean"]),
        ("sample.frames", 1, ["sample.frames=1", "greater than or equal to 2"]),
        ("sample.temperature", -0.5, ["sample.temperature=-0.5", "greater than or equal to 0"]),
        ("ood.batch_size", 0, ["ood.batch_size=0", "greater than or equal to 1"]),
        ("search.n_trials", 0, ["search.n_trials=0", "greater than or equal to 1"]),
        ("search.pruner", "halving", ["search.pruner='halving'", "'median' or 'none'"]),
        ("search.range", {}, ["search.range={}", "did you mean search.ranges?"]),
    ],
)
def test_refusal_names_key_value_and_rule(key: str, value: object, parts: list[str]) -> None:
    message = refusal(nested(key, value))
    for part in parts:
        assert part in message


def test_several_errors_are_counted() -> None:
    message = refusal({"model": {"K": -1, "L": -1}, "seed": -1})
    assert message.endswith("(and 2 more)")


@pytest.mark.parametrize("name", [name for name in known_names() if "." in name])
def test_typo_is_answered_by_the_nearest_name(name: str) -> None:
    ambiguous = len(name.partition(".")[2]) < 3 or name[:-1] in known_names()
    typo = f"{name}_" if ambiguous else name[:-2] + name[-1] + name[-2] + "x"
    assert f"did you mean {name}?" in refusal(nested(typo, 1))


@given(st.dictionaries(st.text("abK.", min_size=1, max_size=4), st.integers() | st.text(max_size=5), min_size=1))
def test_unknown_names_are_refused(raw: dict[str, Any]) -> None:
    assert "unknown parameter" in refusal(raw).replace("\n", " ")


@pytest.mark.parametrize("key", ["train.lr", "train.warmup", "model.actnorm_scale", "sample.temperature"])
def test_infinity_is_refused(key: str) -> None:
    assert f"{key}=inf" in refusal(nested(key, math.inf))


def test_value_of_two_lines_is_shown_in_one() -> None:
    refusal({"zzz": "a\nb"})


@pytest.mark.parametrize(("leaf", "name"), [("K", "model.K"), ("lr", "train.lr")])
def test_name_without_group_is_answered_by_full_name(leaf: str, name: str) -> None:
    assert f"did you mean {name}?" in refusal({leaf: 1})


def test_own_parameters_are_passed_through() -> None:
    own = {"threshold": 3, "nested": {"any": [1, "two", None]}}
    assert parse_parameters({"own": own}).own == own
    assert "own=3: should be a valid dictionary" in refusal({"own": 3})


def test_given_values_replace_defaults() -> None:
    parsed = parse_parameters({"dataset": "mnist", "model": {"K": 2, "y_condition": True}, "train": {"lr": 1}})
    assert (parsed.dataset, parsed.model.K, parsed.model.y_condition) == ("mnist", 2, True)
    assert parsed.train.lr == 1.0
    assert parsed.model.L == 3


def test_values_set_by_name_are_checked() -> None:
    changed = with_values(parse_parameters({"seed": 3}), {"model.K": 5, "train.flip": False})
    assert (changed.model.K, changed.seed) == (5, 3)
    with pytest.raises(GlowPipelineError, match=r"^model\.L=4: each level halves the image"):
        with_values(changed, {"model.L": 4})

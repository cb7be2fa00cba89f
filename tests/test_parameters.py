import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pydantic import BaseModel

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.parameters import Parameters, known_names, parse_parameters, with_values

CONF = Path(__file__).parents[1] / "conf" / "base"


def nested(key: str, value: object) -> dict[str, Any]:
    """("model.K", 3) -> {"model": {"K": 3}}"""
    *groups, leaf = key.split(".")
    raw: dict[str, Any] = {leaf: value}
    for group in reversed(groups):
        raw = {group: raw}
    return raw


def complaint(raw: dict[str, Any]) -> str:
    """The one line that these parameters are refused with."""
    with pytest.raises(GlowPipelineError) as raised:
        parse_parameters(raw)
    message = str(raised.value)
    assert "\n" not in message
    return message


# What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "told"),
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
        ("dataset", 5, ["dataset=5", "string"]),
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
        ("sample.mode", "vtmp", ["sample.mode='vtmp'", "'normal', 'vtemp' or 'interpolate'"]),
        ("sample.frames", 1, ["sample.frames=1", "greater than or equal to 2"]),
        ("sample.temperature", -0.5, ["sample.temperature=-0.5", "greater than or equal to 0"]),
        ("ood.batch_size", 0, ["ood.batch_size=0", "greater than or equal to 1"]),
        ("search.n_trials", 0, ["search.n_trials=0", "greater than or equal to 1"]),
        ("search.pruner", "halving", ["search.pruner='halving'", "'median' or 'none'"]),
        ("search.range", {}, ["search.range={}", "did you mean search.ranges?"]),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_line_with_key_value_and_rule(
    key: str, value: object, told: list[str]
) -> None:
    message = complaint(nested(key, value))
    for part in told:
        assert part in message


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"ingest": {"size": 28}}, ["model.L=3", "28x28", "at most 2", "multiple of 8"]),
        ({"ingest": {"size": [32, 12]}}, ["model.L=3", "32x12", "at most 2"]),
        ({"model": {"L": 6}, "dataset": "mnist"}, ["model.L=6", "32x32", "at most 5", "multiple of 64"]),
        (
            {"dataset": "textures", "model": {"y_condition": True, "num_classes": 3}},
            ["model.num_classes=3", "textures has 14 classes", "at least 14"],
        ),
        (
            {"model": {"flow_coupling": "additive", "scale_floor": 0.1}},
            ["model.scale_floor=0.1", "additive coupling has no scale", "set model.scale_floor=0"],
        ),
        ({"dataset": "digits", "model": {"n_bits": 8}}, ["model.n_bits=8", "allowed are 1 to 4"]),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(raw: dict[str, Any], told: list[str]) -> None:
    message = complaint(raw)
    for part in told:
        assert part in message


def test_several_mistakes_are_counted() -> None:
    message = complaint({"model": {"K": -1, "L": -1}, "seed": -1})
    assert message.endswith("(and 2 more)")


@pytest.mark.parametrize("name", [name for name in known_names() if "." in name])
def test_a_typo_in_any_parameter_is_told_its_name(name: str) -> None:
    typo = f"{name}_" if len(name.partition(".")[2]) < 3 else name[:-2] + name[-1] + name[-2] + "x"
    assert f"did you mean {name}?" in complaint(nested(typo, 1))


@given(st.dictionaries(st.text("abK.", min_size=1, max_size=4), st.integers() | st.text(max_size=5), min_size=1))
def test_unknown_names_are_never_accepted(raw: dict[str, Any]) -> None:
    assert "unknown parameter" in complaint(raw).replace("\n", " ")


@pytest.mark.parametrize("key", ["train.lr", "train.warmup", "model.actnorm_scale", "sample.temperature"])
def test_infinity_is_refused(key: str) -> None:
    assert f"{key}=inf" in complaint(nested(key, math.inf))


def test_a_value_of_two_lines_is_told_in_one() -> None:
    complaint({"zzz": "a\nb"})


@pytest.mark.parametrize("size", ["big", 32.5, [32, "x"]])
def test_a_size_of_the_wrong_type_is_told_what_is_allowed(size: object) -> None:
    message = complaint({"ingest": {"size": size}})
    assert "height x width" in message
    assert "more" not in message


@pytest.mark.parametrize(("leaf", "name"), [("K", "model.K"), ("lr", "train.lr")])
def test_a_flag_of_the_seed_is_told_where_it_belongs(leaf: str, name: str) -> None:
    assert f"did you mean {name}?" in complaint({leaf: 1})


def test_an_odd_side_is_not_told_to_have_no_level() -> None:
    assert "at most 0" not in complaint({"ingest": {"size": 27}})


LR = "train.lr"


@pytest.mark.parametrize(
    ("ranges", "told"),
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
def test_a_range_that_is_none_is_refused(ranges: object, told: str) -> None:
    assert told in complaint({"search": {"ranges": ranges}})


# What is allowed ------------------------------------------------------------------------------

SEED_DEFAULTS = {
    "train.batch_size": 128,
    "train.n_epochs": 100,
    "train.lr": 2e-4,
    "train.warmup": 10,
    "train.decay": 0,
    "train.max_grad_clip": 0,
    "train.max_grad_norm": 0,
    "train.num_workers": 0,
    "train.sample_and_save_freq": 5,
    "train.checkpoint": None,
    "model.hidden_channels": 64,
    "model.K": 8,
    "model.L": 3,
    "model.actnorm_scale": 1.0,
    "model.flow_permutation": "invconv",
    "model.flow_coupling": "affine",
    "model.LU_decomposed": False,
    "model.learn_top": False,
    "model.y_condition": False,
    "model.y_weight": 0.01,
}


@pytest.mark.parametrize(("key", "value"), SEED_DEFAULTS.items(), ids=SEED_DEFAULTS.keys())
def test_defaults_are_those_of_the_seed(key: str, value: object) -> None:
    found: Any = Parameters().model_dump()
    for part in key.split("."):
        found = found[part]
    assert found == value
    assert type(found) is type(value) or isinstance(found, float)


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def parameter_leaves(tree: dict[str, Any]) -> dict[str, object]:
    """As `leaves`, but the ranges of a search are one parameter, and so are those of own pipelines."""
    ranges = tree["search"]["ranges"]
    without = {**tree, "search": {name: value for name, value in tree["search"].items() if name != "ranges"}}
    return {**leaves(without), "search.ranges": ranges, "own": tree["own"]}


def base_configuration() -> dict[str, object]:
    files = sorted(CONF.glob("parameters*.yml"))
    loaded = [OmegaConf.load(file) for file in files]
    flat: dict[str, object] = {}
    for configuration in loaded:
        tree = OmegaConf.to_container(configuration, resolve=False)
        assert isinstance(tree, dict)
        flat |= leaves({str(key): value for key, value in tree.items()})
    return flat


def test_the_base_configuration_is_the_defaults_and_names_every_parameter() -> None:
    assert base_configuration() == leaves(Parameters().model_dump())


def test_every_parameter_is_described() -> None:
    def undescribed(model: type[BaseModel]) -> list[str]:
        names = []
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                names += undescribed(field.annotation)
            elif not field.description:
                names.append(name)
        return names

    assert undescribed(Parameters) == []


def test_known_names_are_all_there_are() -> None:
    assert sorted(known_names()) == sorted(parameter_leaves(Parameters().model_dump()))


def test_own_parameters_are_passed_through() -> None:
    own = {"threshold": 3, "nested": {"any": [1, "two", None]}}
    assert parse_parameters({"own": own}).own == own
    assert "own=3: should be a valid dictionary" in complaint({"own": 3})


def test_what_is_parsed_is_what_was_given() -> None:
    parsed = parse_parameters({"dataset": "mnist", "model": {"K": 2, "y_condition": True}, "train": {"lr": 1}})
    assert (parsed.dataset, parsed.model.K, parsed.model.y_condition) == ("mnist", 2, True)
    assert parsed.train.lr == 1.0
    assert parsed.model.L == 3


@pytest.mark.parametrize("name", SOURCES)
def test_the_defaults_fit_every_source(name: str) -> None:
    path = "images" if name == "folder" else None
    raw = {"dataset": name, "out_dataset": name, "model": {"y_condition": True}, "ingest": {"path": path}}
    parsed = parse_parameters(raw)
    assert parsed.num_classes == SOURCES[name].num_classes


def test_parameters_do_not_change_after_they_were_checked() -> None:
    parsed = parse_parameters({})
    with pytest.raises(ValueError, match="frozen"):
        parsed.seed = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        parsed.model.K = 1  # type: ignore[misc]


# What the images are --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({"dataset": "digits"}, "1x8x8_4bit_resize"),
        ({"dataset": "textures"}, "3x32x32_8bit_resize"),
        ({"dataset": "mnist"}, "1x32x32_8bit_resize"),  # 28 is padded or resized to what three squeezes need
        ({"dataset": "mnist", "ingest": {"fit": "pad"}}, "1x32x32_8bit_pad"),
        ({"dataset": "mnist", "ingest": {"size": 16}}, "1x16x16_8bit_resize"),
        ({"dataset": "mnist", "ingest": {"size": [16, 24]}}, "1x16x24_8bit_resize"),
        ({"dataset": "mnist", "ingest": {"size": [16]}}, "1x16x16_8bit_resize"),
        ({"dataset": "mnist", "ingest": {"channels": 3}}, "3x32x32_8bit_resize"),
        ({"dataset": "textures", "ingest": {"channels": 1}, "model": {"n_bits": 5}}, "1x32x32_5bit_resize"),
        ({"dataset": "digits", "model": {"n_bits": 1, "L": 2}, "ingest": {"size": 4}}, "1x4x4_1bit_resize"),
        ({"dataset": "digits", "out_dataset": "textures"}, "1x8x8_4bit_resize"),
    ],
)
def test_the_images_are_what_was_asked_for_or_as_the_source_has_them(raw: dict[str, Any], key: str) -> None:
    assert parse_parameters(raw).image_format.key == key


@pytest.mark.parametrize(
    ("typed", "ends"),
    [
        ("0-4095", (0, 4095)),
        ("0..1", (0, 1)),
        ("0.5-1.5", (0.5, 1.5)),
        ("-1024..3071", (-1024, 3071)),
        ("-1024-3071", (-1024, 3071)),
        ("-5--1", (-5, -1)),
        ([-1024, 3071.5], (-1024, 3071.5)),
        (None, None),
    ],
)
def test_a_range_is_typed_or_listed(typed: object, ends: tuple[float, float] | None) -> None:
    parsed = parse_parameters({"dataset": "folder", "ingest": {"path": "/images", "range": typed}})
    assert parsed.image_format.range == ends
    assert parse_parameters(parsed.model_dump()).image_format == parsed.image_format


def test_the_number_of_classes_is_the_sources_unless_given() -> None:
    assert parse_parameters({"dataset": "textures"}).num_classes == 14
    assert parse_parameters({"dataset": "textures", "model": {"num_classes": 20}}).num_classes == 20


def test_fewer_classes_are_no_matter_without_conditioning() -> None:
    assert parse_parameters({"dataset": "textures", "model": {"num_classes": 3}}).num_classes == 3


@pytest.mark.parametrize(
    ("typed", "classes"),
    [(3, (3,)), ("3", (3,)), ("0-4", (0, 1, 2, 3, 4)), ("5+0-2", (0, 1, 2, 5)), ([2, 1, 2], (1, 2)), (None, None)],
)
def test_classes_are_typed_as_one_a_range_or_several(typed: object, classes: tuple[int, ...] | None) -> None:
    parsed = parse_parameters({"ingest": {"classes": typed}, "ood": {"out_classes": typed}})
    assert (parsed.image_selection.classes, parsed.out_image_selection.classes) == (classes, classes)


def test_a_folder_is_its_path_its_split_and_its_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = {"dataset": "folder", "out_dataset": "folder", "seed": 3}
    parsed = parse_parameters({**raw, "ingest": {"path": "cats", "eval_percentage": 25.0, "classes": 0}})
    inside, outside = parsed.image_selection, parsed.out_image_selection
    assert (inside.path, inside.eval_path, inside.eval_percentage, inside.seed) == (tmp_path / "cats", None, 25.0, 3)
    assert outside == inside.model_copy(update={"classes": None})
    parsed = parse_parameters({**raw, "ingest": {"path": "cats"}, "ood": {"out_path": "dogs", "out_classes": 1}})
    outside = parsed.out_image_selection
    assert (outside.path, outside.eval_path, outside.classes) == (tmp_path / "dogs", tmp_path / "dogs", (1,))


@pytest.mark.parametrize(
    ("typed", "classes"),
    [("cats+dogs", ("cats", "dogs")), ("0-9", ("0-9",)), ("3+cats", (3, "cats")), (["a+b", 1], ("a+b", 1))],
)
def test_classes_of_a_folder_stay_as_typed(typed: object, classes: tuple[int | str, ...]) -> None:
    raw = {"dataset": "folder", "out_dataset": "folder", "ingest": {"path": "a", "classes": typed}}
    parsed = parse_parameters({**raw, "ood": {"out_path": "b", "out_classes": typed}})
    assert (parsed.image_selection.classes, parsed.out_image_selection.classes) == (classes, classes)


def test_folder_keeps_its_given_name_wherever_it_is() -> None:
    keys = {
        parse_parameters({"dataset": "folder", "ingest": {"path": path, "name": "x rays"}}).image_selection.key
        for path in ("/a/one", "/b/two")
    }
    assert keys == {"folder_x_rays"}


@pytest.mark.parametrize(
    ("path", "out_path", "key"),
    [
        ("/a/normal", "/a/odd", "folder_odd"),
        ("/a/normal", "/b/normal", "folder_b_normal"),
        ("/a/Normal", "/b/normal", "folder_b_normal"),
        ("/a/b_normal", "/a/b/normal", "folder_normal"),
        ("/a/normal", "/normal", "folder_normal_out"),
    ],
)
def test_two_folders_in_a_run_have_two_keys(path: str, out_path: str, key: str) -> None:
    raw = {"dataset": "folder", "out_dataset": "folder", "ingest": {"path": path}, "ood": {"out_path": out_path}}
    assert parse_parameters(raw).out_image_selection.key == key


def test_a_folder_with_images_for_testing_is_not_split_by_seed() -> None:
    raw = {"dataset": "folder", "ingest": {"path": "a", "eval_path": "b"}}
    assert parse_parameters({**raw, "seed": 1}).image_selection == parse_parameters({**raw, "seed": 2}).image_selection


# What is searched -----------------------------------------------------------------------------


def test_steps_of_tenths_are_exact() -> None:
    parsed = parse_parameters({"search": {"ranges": {"train.decay": {"low": 0.1, "high": 0.7, "step": 0.1}}}})
    assert parsed.search.searched["train.decay"].step == 0.1


def test_a_range_that_was_typed_is_merged_with_that_of_the_configuration() -> None:
    configured = {"train.lr": {"low": 1, "high": 2, "log": True}, "model.K": {"choices": [1, 2]}}
    typed = {"train": {"lr": {"high": 3}, "decay": {"low": 0, "high": 1}}, "model": {"K": None}}
    parsed = parse_parameters({"search": {"ranges": {**configured, **typed}}})
    searched = {name: given.model_dump(exclude_unset=True) for name, given in parsed.search.searched.items()}
    assert searched == {"train.decay": {"low": 0, "high": 1}, "train.lr": {"low": 1, "high": 3, "log": True}}


def test_values_are_set_by_their_dotted_names_and_checked() -> None:
    changed = with_values(parse_parameters({"seed": 3}), {"model.K": 5, "train.flip": False})
    assert (changed.model.K, changed.seed) == (5, 3)
    with pytest.raises(GlowPipelineError, match=r"^model\.L=4: each level halves the image"):
        with_values(changed, {"model.L": 4})

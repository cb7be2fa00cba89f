"""Defaults of all parameters, and the images and classes that they stand for."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from glow_pipeline.parameters import Parameters, parse_parameters
from tests.generativezoo import SEED_DEFAULTS
from tests.project import ROOT


@pytest.mark.parametrize(("key", "value"), SEED_DEFAULTS.items(), ids=SEED_DEFAULTS.keys())
def test_defaults_are_those_of_generativezoo(key: str, value: object) -> None:
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


def base_configuration() -> dict[str, object]:
    """Return conf/base by dotted names."""
    files = sorted((ROOT / "conf" / "base").glob("parameters*.yml"))
    loaded = [OmegaConf.load(file) for file in files]
    flat: dict[str, object] = {}
    for configuration in loaded:
        tree = OmegaConf.to_container(configuration, resolve=False)
        assert isinstance(tree, dict)
        flat |= leaves({str(key): value for key, value in tree.items()})
    return flat


def test_base_configuration_has_exactly_the_defaults() -> None:
    assert base_configuration() == leaves(Parameters().model_dump())


def test_parameters_are_frozen() -> None:
    parsed = parse_parameters({})
    with pytest.raises(ValueError, match="frozen"):
        parsed.seed = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        parsed.model.K = 1  # type: ignore[misc]


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
def test_image_format_defaults_to_the_source(raw: dict[str, Any], key: str) -> None:
    assert parse_parameters(raw).image_format.key == key


def test_number_of_classes_defaults_to_the_source() -> None:
    assert parse_parameters({"dataset": "textures"}).num_classes == 14
    assert parse_parameters({"dataset": "textures", "model": {"num_classes": 20}}).num_classes == 20


def test_folder_has_path_split_and_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = {"dataset": "folder", "out_dataset": "folder", "seed": 3}
    parsed = parse_parameters({**raw, "ingest": {"path": "cats", "eval_percentage": 25.0, "classes": 0}})
    inside, outside = parsed.image_selection, parsed.out_image_selection
    assert (inside.path, inside.eval_path, inside.eval_percentage, inside.seed) == (tmp_path / "cats", None, 25.0, 3)
    assert outside == inside.model_copy(update={"classes": None})
    parsed = parse_parameters({**raw, "ingest": {"path": "cats"}, "ood": {"out_path": "dogs", "out_classes": 1}})
    outside = parsed.out_image_selection
    assert (outside.path, outside.eval_path, outside.classes) == (tmp_path / "dogs", tmp_path / "dogs", (1,))


def test_folder_keeps_its_given_name() -> None:
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
def test_two_folders_have_two_keys(path: str, out_path: str, key: str) -> None:
    raw = {"dataset": "folder", "out_dataset": "folder", "ingest": {"path": path}, "ood": {"out_path": out_path}}
    assert parse_parameters(raw).out_image_selection.key == key


def test_folder_with_test_images_ignores_seed() -> None:
    raw = {"dataset": "folder", "ingest": {"path": "a", "eval_path": "b"}}
    assert parse_parameters({**raw, "seed": 1}).image_selection == parse_parameters({**raw, "seed": 2}).image_selection

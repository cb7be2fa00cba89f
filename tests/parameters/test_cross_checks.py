"""Refusal of valid values that are invalid together."""

from typing import Any

import pytest

from glow_pipeline.images.selection import OWN
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.parameters import parse_parameters
from tests.parameters.helpers import refusal


@pytest.mark.parametrize(
    ("raw", "parts"),
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
        (
            {"ingest": {"val_percentage": 60.0, "calibration_percentage": 40.0}},
            ["ingest.calibration_percentage=40.0", "with ingest.val_percentage=60.0 no image is left to train on"],
        ),
        (
            {"score": {"on_resume": "restart"}, "workers": {"engine": "array"}},
            ["score.on_resume=restart", "each of the commands would delete", "set score.on_resume=continue"],
        ),
        ({"dataset": "digits", "model": {"n_bits": 8}}, ["model.n_bits=8", "allowed are 1 to 4"]),
    ],
)
def test_invalid_combination_is_refused_in_one_line(raw: dict[str, Any], parts: list[str]) -> None:
    message = refusal(raw)
    for part in parts:
        assert part in message


def test_odd_side_offers_no_number_of_levels() -> None:
    assert "at most 0" not in refusal({"ingest": {"size": 27}})


def test_fewer_classes_are_allowed_without_conditioning() -> None:
    assert parse_parameters({"dataset": "textures", "model": {"num_classes": 3}}).num_classes == 3


@pytest.mark.parametrize("name", SOURCES)
def test_defaults_fit_every_source(name: str) -> None:
    path = "images" if name in OWN else None
    raw = {"dataset": name, "out_dataset": name, "model": {"y_condition": True}, "ingest": {"path": path}}
    parsed = parse_parameters(raw)
    assert parsed.num_classes == SOURCES[name].num_classes

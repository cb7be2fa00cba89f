"""Configuration by dotted names, and the one line that refuses it."""

from typing import Any

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import parse_parameters


def nested(key: str, value: object) -> dict[str, Any]:
    """Convert ("model.K", 3) to {"model": {"K": 3}}."""
    *groups, leaf = key.split(".")
    raw: dict[str, Any] = {leaf: value}
    for group in reversed(groups):
        raw = {group: raw}
    return raw


def refusal(raw: dict[str, Any]) -> str:
    """Return the one line that refuses these parameters."""
    with pytest.raises(GlowPipelineError) as raised:
        parse_parameters(raw)
    message = str(raised.value)
    assert "\n" not in message
    return message

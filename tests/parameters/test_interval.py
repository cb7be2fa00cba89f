"""Intervals between checkpoints as they are typed."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.parameters.interval import Interval


@given(
    number=st.one_of(st.integers(1, 10**9), st.decimals("0.001", "1e6", places=3).map(lambda number: f"{number:f}")),
    unit=st.sampled_from(["", "min", "minute", "minutes", "step", "steps"]),
    spaces=st.tuples(*[st.sampled_from(["", " "])] * 3),
)
def test_interval_is_minutes_or_steps(number: int | str, unit: str, spaces: tuple[str, str, str]) -> None:
    expected = Interval(float(number), "steps" if unit.startswith("step") else "minutes")
    assert Interval.parse(f"{spaces[0]}{number}{spaces[1]}{unit}{spaces[2]}") == expected
    if not unit:
        assert Interval.parse(float(number)) == expected


@pytest.mark.parametrize(
    "text", [0, -1, 0.0, True, "", "0steps", "-1min", "nan", "inf", "1e3", "10 hours", "1.min", "min"]
)
def test_other_text_is_refused(text: float | str) -> None:
    with pytest.raises(ValueError, match=f"^{text}: not a number of minutes or steps: 10, 10min, 500steps"):
        Interval.parse(text)


@given(st.one_of(st.text("0123456789. minutesp", max_size=8), st.text(), st.floats()))
def test_any_text_is_refused_or_above_zero(text: float | str) -> None:
    with suppress(ValueError):
        assert Interval.parse(text).every > 0

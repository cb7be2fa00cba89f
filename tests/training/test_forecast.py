"""The forecast of a training's duration."""

import pytest

from glow_pipeline.training.forecast import ENOUGH_STEPS, Forecast, duration


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def said(seconds_a_step: float, *, total: int, epoch: int, done: int = 0) -> list[tuple[int, str]]:
    """At which step something is said, and what."""
    clock = Clock()
    forecast = Forecast(done, total, epoch, clock)
    lines = []
    for step in range(done + 1, done + 50):
        clock.now += seconds_a_step
        if (line := forecast.line(step)) is not None:
            lines.append((step, line))
    return lines


def test_time_is_said_once_after_some_steps() -> None:
    assert said(0.2, total=10020, epoch=1000) == [(ENOUGH_STEPS, "Time:   about 33 min, 3 min an epoch.")]


def test_slow_steps_are_not_waited_for() -> None:
    ((step, line),) = said(6.0, total=1000, epoch=10)
    assert (step, line) == (1, "Time:   about 1 h 40 min, 60 s an epoch.")


def test_long_epochs_come_with_a_hint() -> None:
    ((_, line),) = said(1.0, total=1000, epoch=601)
    assert "lower ingest.size, model.K or model.hidden_channels" in line
    ((_, line),) = said(1.0, total=1000, epoch=599)
    assert "ingest.size" not in line


def test_short_trainings_say_nothing() -> None:
    assert said(0.01, total=1000, epoch=100) == []


def test_earlier_steps_do_not_count() -> None:
    ((step, line),) = said(1.0, done=900, total=1000, epoch=10)
    assert (step, line) == (905, "Time:   about 2 min, 10 s an epoch.")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(12.4, "12 s"), (200, "3 min"), (5400, "1 h 30 min"), (86400, "24 h 0 min"), (200000, "2 days 7 h")],
)
def test_duration_has_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words

"""The warning about a gradient far beyond all others."""

import logging

import pytest

from glow_pipeline.training.gradient_alarm import GradientAlarm
from glow_pipeline.training.history import Metrics


def epoch(number: int, mean: float, largest: float) -> Metrics:
    return {"epoch": number, "grad_norm": mean, "largest_grad_norm": largest}


def warnings(caplog: pytest.LogCaptureFixture, epochs: list[Metrics], max_grad_norm: float = 0.0) -> list[str]:
    alarm = GradientAlarm(max_grad_norm)
    with caplog.at_level(logging.WARNING):
        for number, each in enumerate(epochs):
            alarm.check(each, epochs[:number])
    return caplog.messages


def test_measured_spike_is_named_with_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    """Norms of a training of MNIST, which lost in its ninth epoch all that it had learned since the first."""
    (message,) = warnings(caplog, [epoch(7, 105.5, 311.9), epoch(8, 105.9, 557.3), epoch(9, 462400.0, 7.8e8)])
    assert message.startswith("epoch 9: the norm of a gradient was 7.8e+08, 7.4e+06 times the usual one")
    assert "train.max_grad_norm=100 or a lower" in message


def test_healthy_epochs_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(caplog, [epoch(1, 166.5, 4838.0), epoch(2, 160.9, 2060.0), epoch(3, 116.0, 2054.0)]) == []


def test_limited_norm_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(caplog, [epoch(1, 100.0, 200.0), epoch(2, 1e6, 1e9)], max_grad_norm=100.0) == []


def test_second_spike_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    assert len(warnings(caplog, [epoch(1, 100.0, 200.0), epoch(2, 1e5, 1e8), epoch(3, 1e5, 1e8)])) == 1


def test_first_epoch_has_no_comparison(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(caplog, [epoch(1, 1e5, 1e9)]) == []

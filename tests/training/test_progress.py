"""The progress bar of a training."""

import logging

import pytest
import torch

from glow_pipeline.training.history import History
from glow_pipeline.training.progress import Progress
from glow_pipeline.training.step_metrics import StepMetrics
from tests.training.helpers import CPU


def show_two_steps(*, shown: bool) -> None:
    metrics = StepMetrics(History(), 3, 4, CPU)
    with Progress(4, 8, 4, 16, shown=shown) as progress:
        progress.start(4)
        for step, bits_per_dim in ((5, 1.0), (6, 2.0)):
            metrics.add(torch.tensor(bits_per_dim))
            progress.update(metrics.read(), step, 2, metrics)


def test_bar_shows_steps_epoch_and_bits(capsys: pytest.CaptureFixture[str]) -> None:
    show_two_steps(shown=True)
    last = capsys.readouterr().err.rpartition("\r")[2]
    assert "6/8 [" in last
    assert "epoch 2, 1.500 bits/dim, " in last


def test_hidden_bar_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show_two_steps(shown=False)
    assert capsys.readouterr().err == ""


def test_failed_block_restores_logging() -> None:
    before = logging.getLogger().handlers[:]
    with pytest.raises(ValueError, match="no such luck"), Progress(0, 8, 4, 16, shown=False):
        raise ValueError("no such luck")
    assert logging.getLogger().handlers == before

import math

import pytest
import torch

from glow_pipeline.training.history import History
from glow_pipeline.training.step_metrics import READ_EVERY, StepMetrics
from tests.training.helpers import CPU

SKIPPED = math.nan


def numbers_read(metrics: StepMetrics, *values: float) -> list[int]:
    """Add each of these values and read after it; return the numbers of steps that were read."""
    read = []
    for value in values:
        metrics.add(torch.tensor(value))
        read.append(metrics.read())
    return read


def test_skipped_steps_count_but_not_for_the_mean() -> None:
    history = History()
    metrics = StepMetrics(history, max_skipped_steps=3, steps_per_epoch=5, device=CPU)
    assert numbers_read(metrics, 1.0, SKIPPED, 2.0, SKIPPED, 6.0) == [1] * 5
    assert (history.steps, history.skipped_steps, history.diverged) == (5, 2, False)
    assert metrics.mean_bits_per_dim == 3.0
    metrics.start_epoch()
    assert numbers_read(metrics, 8.0) == [1]
    assert (history.steps, history.skipped_steps) == (6, 2)
    assert metrics.mean_bits_per_dim == 8.0


def test_epoch_without_an_update_has_no_mean() -> None:
    metrics = StepMetrics(History(), max_skipped_steps=9, steps_per_epoch=2, device=CPU)
    assert math.isnan(metrics.mean_bits_per_dim)
    numbers_read(metrics, SKIPPED, SKIPPED)
    assert math.isnan(metrics.mean_bits_per_dim)


@pytest.mark.parametrize("max_skipped_steps", [1, 2, 3])
def test_divergence_is_many_skipped_steps_in_a_row(max_skipped_steps: int) -> None:
    history = History()
    metrics = StepMetrics(history, max_skipped_steps, steps_per_epoch=9, device=CPU)
    for _ in range(2):
        numbers_read(metrics, *[SKIPPED] * (max_skipped_steps - 1), 1.0)
    assert not history.diverged
    numbers_read(metrics, *[SKIPPED] * (max_skipped_steps - 1))
    assert not history.diverged
    numbers_read(metrics, SKIPPED)
    assert history.diverged


def test_skipped_steps_in_a_row_cross_epochs() -> None:
    history = History()
    metrics = StepMetrics(history, max_skipped_steps=3, steps_per_epoch=3, device=CPU)
    numbers_read(metrics, 1.0, 1.0, SKIPPED)
    metrics.start_epoch()
    numbers_read(metrics, SKIPPED)
    assert not history.diverged
    numbers_read(metrics, SKIPPED)
    assert history.diverged


class Clock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_gpu_is_read_rarely_and_at_epoch_ends(
    clock: Clock,
) -> None:
    history = History()
    metrics = StepMetrics(history, 3, 6, CPU, read_every=READ_EVERY, clock=clock)
    assert numbers_read(metrics, 1.0, 2.0) == [0, 0]
    assert history.steps == 0
    clock.now += READ_EVERY
    assert numbers_read(metrics, 3.0, 4.0) == [3, 0]
    assert metrics.mean_bits_per_dim == 2.0
    clock.now += 0.9 * READ_EVERY
    assert numbers_read(metrics, 5.0, SKIPPED) == [0, 3]
    assert (history.steps, history.skipped_steps, metrics.mean_bits_per_dim) == (6, 1, 3.0)
    metrics.start_epoch()
    assert numbers_read(metrics, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0) == [0, 0, 0, 0, 0, 6]
    assert metrics.mean_bits_per_dim == 7.0


def test_steps_after_the_divergence_do_not_count(clock: Clock) -> None:
    history = History()
    metrics = StepMetrics(history, 2, 6, CPU, read_every=READ_EVERY, clock=clock)
    assert numbers_read(metrics, 1.0, SKIPPED, SKIPPED, SKIPPED, SKIPPED, SKIPPED) == [0, 0, 0, 0, 0, 3]
    assert history.diverged
    assert (history.steps, history.skipped_steps, metrics.mean_bits_per_dim) == (3, 2, 1.0)


def test_cpu_is_read_at_each_step(clock: Clock) -> None:
    metrics = StepMetrics(History(), max_skipped_steps=3, steps_per_epoch=4, device=CPU, clock=clock)
    assert numbers_read(metrics, 1.0, 2.0) == [1, 1]
    assert metrics.read() == 0


def test_speed_leaves_out_skipped_steps(clock: Clock) -> None:
    metrics = StepMetrics(History(), max_skipped_steps=3, steps_per_epoch=4, device=CPU, clock=clock)
    clock.now += 50
    metrics.start_epoch()
    numbers_read(metrics, 1.0, SKIPPED, 1.0, 1.0)
    clock.now += 2
    assert metrics.steps_per_second == 1.5

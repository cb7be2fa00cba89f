import math

import pytest
import torch
from torch import Tensor

from glow_pipeline.training import step_metrics
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


def timed_read(metrics: StepMetrics, clock: Clock, *values: float) -> list[int]:
    """Add a step each tenth of READ_EVERY; return the numbers of steps that were read after each."""
    read = []
    for value in values:
        clock.now += READ_EVERY / 10
        read += numbers_read(metrics, value)
    return read


def test_gpu_is_read_rarely_and_when_forced(clock: Clock) -> None:
    history = History()
    metrics = StepMetrics(history, 3, 30, CPU, read_every=READ_EVERY, clock=clock)
    assert timed_read(metrics, clock, 1.0) == [1], "the speed is not known yet"
    assert timed_read(metrics, clock, *[2.0] * 10) == [0, 0, 0, 0, 5] * 2
    assert timed_read(metrics, clock, 7.0, SKIPPED) == [0, 0]
    assert (history.steps, metrics.read(force=True), metrics.read(force=True)) == (11, 2, 0)
    assert (history.steps, history.skipped_steps, metrics.mean_bits_per_dim) == (13, 1, 28 / 12)
    clock.now += READ_EVERY
    assert numbers_read(metrics, 2.0) == [1], "long ago"


def test_steps_after_the_divergence_do_not_count(clock: Clock) -> None:
    history = History()
    metrics = StepMetrics(history, 2, 9, CPU, read_every=READ_EVERY, clock=clock)
    assert timed_read(metrics, clock, 1.0, 1.0, SKIPPED, SKIPPED, SKIPPED) == [1, 0, 0, 0, 0]
    metrics.queue_reading()
    assert numbers_read(metrics, SKIPPED, SKIPPED) == [3, 0]
    assert history.diverged
    assert metrics.read(force=True) == 0
    assert (history.steps, history.skipped_steps, metrics.mean_bits_per_dim) == (4, 2, 1.0)


def test_cpu_is_read_at_each_step(clock: Clock) -> None:
    metrics = StepMetrics(History(), max_skipped_steps=3, steps_per_epoch=4, device=CPU, clock=clock)
    assert numbers_read(metrics, 1.0, 2.0) == [1, 1]
    assert metrics.read() == 0


def test_speed_leaves_out_skipped_steps(clock: Clock) -> None:
    metrics = StepMetrics(History(), max_skipped_steps=3, steps_per_epoch=4, device=CPU, clock=clock)
    clock.now += 50
    metrics.start_epoch()
    numbers_read(metrics, 1.0, SKIPPED, 1.0)
    clock.now += 2
    numbers_read(metrics, 1.0)
    clock.now += 50  # in which the epoch is validated
    assert metrics.steps_per_second == 1.5


class LateCopy:
    """A copy from a GPU that is still busy, until the test says otherwise."""

    complete, waits = False, 0

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor.clone()

    def get(self) -> list[Tensor]:
        LateCopy.waits += not self.complete
        return [self._tensor]


@pytest.fixture
def late_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_metrics, "HostCopy", LateCopy)
    monkeypatch.setattr(LateCopy, "waits", 0)


@pytest.mark.usefixtures("late_copies")
def test_forced_read_waits_for_all_copies(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History()
    metrics = StepMetrics(history, 3, 9, CPU, read_every=READ_EVERY, clock=clock)
    assert numbers_read(metrics, 1.0, 2.0) == [0, 0]
    monkeypatch.setattr(LateCopy, "complete", True)
    assert metrics.read() == 2
    monkeypatch.setattr(LateCopy, "complete", False)
    assert numbers_read(metrics, 3.0, 4.0) == [0, 0]
    assert LateCopy.waits == 0
    assert metrics.read(force=True) == 2
    assert (LateCopy.waits, history.steps, metrics.mean_bits_per_dim) == (2, 4, 2.5)
    assert metrics.values[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("steps_per_second", [1, 20, 200])
def test_host_is_ahead_by_half_a_second(clock: Clock, monkeypatch: pytest.MonkeyPatch, steps_per_second: int) -> None:
    """The host launches a step in no time, and the device needs as long as it does."""
    started = clock.now

    class DeviceCopy:
        def __init__(self, tensor: Tensor) -> None:
            self._tensor, self._ready = tensor.clone(), started + number / steps_per_second

        @property
        def complete(self) -> bool:
            return clock.now >= self._ready

        def get(self) -> list[Tensor]:
            clock.now = max(clock.now, self._ready)
            return [self._tensor]

    monkeypatch.setattr(step_metrics, "HostCopy", DeviceCopy)
    history = History()
    metrics = StepMetrics(history, 3, 999, CPU, read_every=READ_EVERY, clock=clock)
    ahead = []
    for number in range(1, 1000):
        metrics.add(torch.tensor(1.0))
        metrics.read()
        done = int((clock.now - started) * steps_per_second + 1e-6)
        ahead.append(number - done)
    assert max(ahead) <= max(2, READ_EVERY * steps_per_second)
    assert min(ahead[99:]) >= READ_EVERY * steps_per_second // 2 - 1

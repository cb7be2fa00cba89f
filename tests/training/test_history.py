import math
from types import SimpleNamespace

import pytest
import torch

from glow_pipeline.training import history as history_module
from glow_pipeline.training.history import READ_EVERY, History, Tally, reported
from tests.training.helpers import CPU

SKIPPED = math.nan


def test_figures_given_the_class_have_separate_names() -> None:
    row = {"epoch": 1, "train_bits_per_dim": 2.0, "val_bits_per_dim": 3.0, "lr": 0.1}
    assert reported(row, False) == row
    given = {"epoch": 1, "train_bits_per_dim_given_class": 2.0, "val_bits_per_dim_given_class": 3.0, "lr": 0.1}
    assert reported(row, True) == given


def told(tally: Tally, *values: float) -> list[int]:
    """How many steps each reading was of, with one after each of these values."""
    read = []
    for value in values:
        tally.add(torch.tensor(value))
        read.append(tally.read())
    return read


def test_steps_are_counted_and_the_mean_is_of_those_that_were_not_skipped() -> None:
    history = History()
    tally = Tally(history, max_skipped_steps=3, steps_per_epoch=5, device=CPU)
    assert told(tally, 1.0, SKIPPED, 2.0, SKIPPED, 6.0) == [1] * 5
    assert (history.steps, history.skipped_steps, history.diverged) == (5, 2, False)
    assert tally.mean_bits_per_dim == 3.0
    tally.start_epoch()
    assert told(tally, 8.0) == [1]
    assert (history.steps, history.skipped_steps) == (6, 2)
    assert tally.mean_bits_per_dim == 8.0


def test_an_epoch_without_an_update_has_no_mean() -> None:
    tally = Tally(History(), max_skipped_steps=9, steps_per_epoch=2, device=CPU)
    assert math.isnan(tally.mean_bits_per_dim)
    told(tally, SKIPPED, SKIPPED)
    assert math.isnan(tally.mean_bits_per_dim)


@pytest.mark.parametrize("max_skipped_steps", [1, 2, 3])
def test_divergence_is_exactly_so_many_skipped_steps_in_a_row(max_skipped_steps: int) -> None:
    history = History()
    tally = Tally(history, max_skipped_steps, steps_per_epoch=9, device=CPU)
    for _ in range(2):
        told(tally, *[SKIPPED] * (max_skipped_steps - 1), 1.0)
    assert not history.diverged
    told(tally, *[SKIPPED] * (max_skipped_steps - 1))
    assert not history.diverged
    told(tally, SKIPPED)
    assert history.diverged


def test_in_a_row_counts_over_the_end_of_an_epoch() -> None:
    history = History()
    tally = Tally(history, max_skipped_steps=3, steps_per_epoch=3, device=CPU)
    told(tally, 1.0, 1.0, SKIPPED)
    tally.start_epoch()
    told(tally, SKIPPED)
    assert not history.diverged
    told(tally, SKIPPED)
    assert history.diverged


class Clock:
    """A time that only goes on when it is told to."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(history_module, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


def of_another_device(monkeypatch: pytest.MonkeyPatch, history: History, max_skipped_steps: int, n: int) -> Tally:
    """A tally that takes its device for another than the CPU; its values are here, that it can read them."""
    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", lambda *size, device: torch.zeros(size))
        return Tally(history, max_skipped_steps, n, torch.device("meta"))


def test_another_device_is_read_rarely_and_at_the_end_of_each_epoch(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    history = History()
    tally = of_another_device(monkeypatch, history, 3, 6)
    assert told(tally, 1.0, 2.0) == [0, 0]
    assert history.steps == 0
    clock.now += READ_EVERY
    assert told(tally, 3.0, 4.0) == [3, 0]
    assert tally.mean_bits_per_dim == 2.0
    clock.now += 0.9 * READ_EVERY
    assert told(tally, 5.0, SKIPPED) == [0, 3]
    assert (history.steps, history.skipped_steps, tally.mean_bits_per_dim) == (6, 1, 3.0)
    tally.start_epoch()
    assert told(tally, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0) == [0, 0, 0, 0, 0, 6]
    assert tally.mean_bits_per_dim == 7.0


def test_what_comes_after_the_divergence_does_not_count(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    history = History()
    tally = of_another_device(monkeypatch, history, 2, 6)
    assert told(tally, 1.0, SKIPPED, SKIPPED, SKIPPED, SKIPPED, SKIPPED) == [0, 0, 0, 0, 0, 3]
    assert history.diverged
    assert (history.steps, history.skipped_steps, tally.mean_bits_per_dim) == (3, 2, 1.0)


def test_the_cpu_is_read_at_each_step(clock: Clock) -> None:
    tally = Tally(History(), max_skipped_steps=3, steps_per_epoch=4, device=CPU)
    assert told(tally, 1.0, 2.0) == [1, 1]
    assert tally.read() == 0


def test_steps_a_second_are_those_of_the_epoch_that_were_not_skipped(clock: Clock) -> None:
    tally = Tally(History(), max_skipped_steps=3, steps_per_epoch=4, device=CPU)
    clock.now += 50
    tally.start_epoch()
    told(tally, 1.0, SKIPPED, 1.0, 1.0)
    clock.now += 2
    assert tally.steps_per_second == 1.5

"""The number of threads of a training."""

import copy
import logging
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from glow_pipeline.parameters.interval import Interval
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.adaptive_threads import (
    COLLAPSED,
    PAUSE,
    RETRY_MORE,
    WINDOW,
    WINDOW_STEPS,
    ThroughputWatch,
    TrainingThreads,
)
from glow_pipeline.training.checkpoint import read_checkpoint
from glow_pipeline.training.checkpoint_folder import CheckpointSchedule, TrainingFolder
from glow_pipeline.training.step import TrainingStep
from tests.training.helpers import STEPS, Tables, inputs_of, moments, new_glow, same, train


class Clock:
    """A clock that each look moves on, by what a measurement with the present number of threads takes."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds, self.now = seconds, 0.0

    def __call__(self) -> float:
        self.now += self.seconds[torch.get_num_threads()]
        return self.now


class BusyLater(Clock):
    """The clock of a machine that becomes busy after so many looks at it."""

    def __init__(self, idle: dict[int, float], busy: dict[int, float], looks: int) -> None:
        super().__init__(idle)
        self.busy, self.looks = busy, looks

    def __call__(self) -> float:
        self.looks -= 1
        if self.looks == 0:
            self.seconds = self.busy
        return super().__call__()


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


@pytest.fixture
def step() -> TrainingStep:
    model = new_glow()
    return TrainingStep(model, Adamax(model.parameters(), lr=0.01), 0.0, 3)


def filled(watch: ThroughputWatch, seconds: float) -> None:
    """A window of steps that took so long each."""
    for _ in range(max(WINDOW_STEPS, math.ceil(WINDOW / seconds))):
        watch.add(seconds)


def test_collapsed_throughput_is_measured_again_after_a_pause() -> None:
    now = 0.0
    watch = ThroughputWatch(lambda: now)
    filled(watch, 1.0)
    filled(watch, 1.5)
    now = PAUSE
    assert not watch.due(could_be_more=False)
    filled(watch, 1.01 * COLLAPSED)
    assert watch.due(could_be_more=False)
    watch.restart()
    filled(watch, 2.0)
    now += PAUSE
    assert not watch.due(could_be_more=False), "what is slow now is the new measure"


def test_one_slow_step_is_no_collapse() -> None:
    now = 0.0
    watch = ThroughputWatch(lambda: now)
    filled(watch, 1.0)
    now = PAUSE
    for seconds in (1.0, 1.0, 1.0, 2 * COLLAPSED):
        watch.add(seconds)
    assert not watch.due(could_be_more=False)


def test_more_threads_are_tried_after_some_minutes() -> None:
    now = 0.0
    watch = ThroughputWatch(lambda: now)
    now = RETRY_MORE
    assert watch.due(could_be_more=True)
    assert not watch.due(could_be_more=False)


def test_first_number_is_measured_again_after_a_pause() -> None:
    now = 0.0
    watch = ThroughputWatch(lambda: now, unsure=True)
    assert not watch.due(could_be_more=False)
    now = PAUSE
    assert watch.due(could_be_more=False)


def test_threads_of_a_training() -> None:
    torch.set_num_threads(2)

    def of(
        *, fixed: int | None = None, recorded: int | None = None, pixels: int = 2**17, measured: bool = True
    ) -> tuple[int, bool]:
        threads = TrainingThreads.for_training(fixed=fixed, recorded=recorded, pixels=pixels, measured=measured)
        return threads.number, len(threads.counts) > 1

    most, several = of()
    assert several == (most > 1)
    assert of(fixed=5, recorded=1) == (5, False)
    assert of(recorded=1)[0] == 1
    assert of(recorded=64)[0] == most, "this machine has fewer"
    assert of(pixels=128 * 64, recorded=2) == (1, False)
    assert of(measured=False) == (2, False)


def test_number_is_chosen_before_the_first_step(step: TrainingStep) -> None:
    threads = TrainingThreads(2, [2, 1], clock=Clock({2: 0.3, 1: 0.1}))
    with threads.in_use():
        threads.choose_at_start(step, lambda: inputs_of(step.model)[:2], 10**9)
        assert torch.get_num_threads() == threads.number == 1


def test_resumed_training_keeps_its_number(step: TrainingStep) -> None:
    threads = TrainingThreads(2, [2, 1], resumed=True, clock=Clock({2: 0.3, 1: 0.1}))
    with threads.in_use():
        threads.choose_at_start(step, lambda: inputs_of(step.model)[:2], 10**9)
        assert torch.get_num_threads() == 2


def test_collapse_changes_the_number_between_two_steps(step: TrainingStep, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock({2: 1.0, 1: 2.0})
    threads = TrainingThreads(2, [2, 1], clock=clock)
    inputs, switched = inputs_of(step.model)[:2], []
    with threads.in_use(), caplog.at_level(logging.INFO):
        watched = threads.watched(step, lambda: switched.append(step.optimizer.steps.item()))
        for _ in range(8):
            watched(*inputs)
        clock.now += PAUSE
        for _ in range(8):
            watched(*inputs)
        assert switched == [], "nothing has changed"
        clock.seconds = {2: 4.0, 1: 2.0}
        for _ in range(8):
            watched(*inputs)
        assert torch.get_num_threads() == threads.number == 1
    assert len(switched) == 1
    assert 16 < switched[0] < 24
    assert "1 of 2 threads from here on, as measured" in caplog.text
    clock.seconds, clock.now = {2: 1.0, 1: 2.0}, clock.now + RETRY_MORE
    with threads.in_use(), caplog.at_level(logging.INFO):
        watched(*inputs)
        assert torch.get_num_threads() == 2
    assert caplog.messages[-1].startswith("2 of 2 threads from here on")
    assert "no longer" in caplog.messages[-1]


def test_resumed_training_keeps_its_number_until_a_collapse(step: TrainingStep) -> None:
    clock = Clock({2: 4.0, 1: 2.0})
    threads = TrainingThreads(2, [2, 1], resumed=True, clock=clock)
    inputs = inputs_of(step.model)[:2]
    with threads.in_use():
        watched = threads.watched(step, lambda: None)
        watched(*inputs)
        clock.now += PAUSE
        watched(*inputs)
        assert torch.get_num_threads() == 2, "one thread would be faster, and give other bits"
        clock.seconds = {2: 20.0, 1: 2.0}
        for _ in range(10):
            watched(*inputs)
        assert torch.get_num_threads() == 1


def test_changed_number_is_in_the_next_checkpoint(tables: Tables, tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    schedule = CheckpointSchedule(folder, Interval(1000, "steps"), 100)
    clock = BusyLater({2: 1.0, 1: 2.0}, {2: 4.0, 1: 2.0}, looks=30)
    threads = TrainingThreads(2, [2, 1], clock=clock)
    with threads.in_use():
        trained = train(tables, checkpoints=schedule, threads=threads, n_epochs=8)
    found = [read_checkpoint(path) for path in folder.checkpoints]
    computed = [checkpoint.record.computation for checkpoint in found]
    assert [(each.threads, each.device) for each in computed] == [
        (2, "cpu (2 threads)"),
        (1, "cpu (1 thread)"),
        (1, "cpu (1 thread)"),
    ]
    first, switched, last = found
    assert first.step == 0 < switched.step < last.step == 8 * STEPS
    resumed = train(tables, start=switched, n_epochs=8)
    assert same(resumed.model.state_dict(), trained.model.state_dict())


def test_fixed_number_is_not_watched(step: TrainingStep) -> None:
    assert TrainingThreads(2, [2]).watched(step, lambda: None) is step


def test_measurement_changes_nothing(step: TrainingStep) -> None:
    inputs = inputs_of(step.model)[:2]
    step(*inputs)
    before, weights = moments(step.optimizer), copy.deepcopy(step.model.state_dict())
    step.gradients_alone(*inputs)
    assert same(moments(step.optimizer), before)
    assert same(step.model.state_dict(), weights)
    other = copy.deepcopy(step.model)
    assert step(*inputs).isfinite()
    assert not same(step.model.state_dict(), other.state_dict())

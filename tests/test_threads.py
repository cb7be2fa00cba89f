"""Choice of the number of threads."""

import os
from collections.abc import Iterator

import pytest
import torch

from glow_pipeline.threads import (
    MEASURED,
    alternatives,
    chosen_threads,
    fastest,
    is_small,
    measured_choice,
    most_threads,
    usable_cores,
)


class Machine:
    """A machine with a clock that only work advances.

    Args:
        seconds: time of an image, by number of threads.
    """

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.threads = 0
        self.runs: list[tuple[int, int]] = []  # threads and images

    def use(self, threads: int) -> None:
        self.threads = threads

    def work(self, images: int) -> None:
        self.now += images * self.seconds[self.threads]
        self.runs.append((self.threads, images))

    def choose(self, counts: list[int], total: float = float("inf"), batch: int = 128) -> int:
        return measured_choice(
            self.work, counts, pixels=1024, batch=batch, total=total, clock=lambda: self.now, use=self.use
        )


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_idle_machine_takes_all_threads() -> None:
    machine = Machine({2: 0.0022, 1: 0.0039})
    assert machine.choose([2, 1]) == 2
    assert machine.threads == 2


def test_busy_machine_takes_fewer_threads() -> None:
    machine = Machine({2: 1 / 112, 1: 1 / 272})  # images/s beside one busy loop
    assert machine.choose([2, 1]) == 1
    assert machine.threads == 1


@pytest.mark.parametrize(("faster", "chosen"), [(1.10, 2), (1.20, 1)])
def test_first_number_stays_unless_another_is_faster(faster: float, chosen: int) -> None:
    assert fastest([2, 1], {2: faster, 1: 1.0}.__getitem__) == chosen
    assert fastest([1, 2], {1: faster, 2: 1.0}.__getitem__) == 3 - chosen


def test_one_slow_measurement_decides_nothing() -> None:
    times = {2: iter([0.9, 0.1, 0.1]), 1: iter([0.17, 0.17, 0.17])}
    assert fastest([2, 1], lambda count: next(times[count])) == 2


def test_too_few_threads_are_not_measured() -> None:
    machine = Machine({count: 0.1 / count for count in alternatives(64)})
    assert machine.choose(alternatives(64)) == 64
    assert min(threads for threads, _ in machine.runs) == 16


def test_all_numbers_are_measured_where_fewer_are_faster() -> None:
    machine = Machine({8: 0.1, 4: 0.05, 2: 0.02, 1: 0.01})
    assert machine.choose([8, 4, 2, 1]) == 1


def test_measuring_ends_after_some_seconds() -> None:
    measured: list[int] = []

    def seconds(count: int) -> float:
        measured.append(count)
        return 2.0

    assert fastest([2, 1], seconds) == 2
    assert measured == [2, 1]


def test_short_work_is_not_measured() -> None:
    machine = Machine({2: 0.01, 1: 0.001})
    assert machine.choose([2, 1], total=500) == 2
    assert len(machine.runs) == 1


def test_measurement_takes_a_part_of_a_batch() -> None:
    machine = Machine({2: 0.002, 1: 0.003})
    machine.choose([2, 1])
    assert {images for _, images in machine.runs} == {16, 32, 64}, f"the first that takes {MEASURED} s"
    machine = Machine({2: 0.002, 1: 0.003})
    machine.choose([2, 1], batch=24)
    assert {images for _, images in machine.runs} == {16, 24}


def test_single_number_is_not_measured() -> None:
    machine = Machine({})
    assert machine.choose([3]) == machine.threads == 3


def test_alternatives_are_halves() -> None:
    assert alternatives(1) == [1]
    assert alternatives(12) == [12, 6, 3, 1]


def test_no_more_threads_than_usable_cores() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(usable_cores() + 3)
    try:
        assert most_threads() == usable_cores() >= 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_usable_cores_are_those_of_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= usable_cores() <= len(before)


def test_small_batches_take_one_thread(two_threads: None) -> None:
    assert is_small(128 * 8 * 8)
    assert not is_small(128 * 16 * 16)
    with chosen_threads(torch.device("cpu"), lambda _: None, pixels=64, batch=128, total=10**9):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_fixed_number_is_in_use_within_the_block(two_threads: None) -> None:
    with chosen_threads(torch.device("cpu"), lambda _: None, pixels=1024, batch=128, total=10**9, fixed=3):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 2


def test_other_devices_measure_nothing(two_threads: None) -> None:
    def work(images: int) -> None:
        raise AssertionError(images)

    with chosen_threads(torch.device("cuda"), work, pixels=1024, batch=128, total=10**9):
        assert torch.get_num_threads() == 2

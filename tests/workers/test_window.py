"""Parts as tasks of a cluster, with a cluster handed in that computes when it is waited for."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.workers.part_work import Seat
from glow_pipeline.workers.window import RETRIES, WorkerLostError, compute_in_window
from tests.workers.squares import Squares


class Cluster:
    """A cluster of two workers, which loses the workers of a part a few times."""

    def __init__(self, work: Squares, lost: dict[int, int] | None = None, slots: Sequence[int] = (2,)) -> None:
        self._work, self._lost, self._slots = work, Counter(lost or {}), list(slots)
        self._parts: list[int] = []  # by task
        self.most = 0
        self.cancelled: list[int] = []

    def slots(self) -> int:
        return self._slots.pop(0) if len(self._slots) > 1 else self._slots[0]

    def submit(self, part: int) -> int:
        self._parts.append(part)
        return len(self._parts) - 1

    def finished(self, tasks: Sequence[int]) -> Sequence[int]:
        self.most = max(self.most, len(tasks))
        return tasks[-1:]  # not in the order that they were submitted

    def check(self, task: int) -> None:
        part = self._parts[task]
        if self._lost[part] > 0:
            self._lost[part] -= 1
            raise WorkerLostError("it died")
        for _ in self._work.run([part], Seat()):
            pass

    def cancel(self, tasks: Sequence[int]) -> None:
        self.cancelled += [self._parts[task] for task in tasks]


def test_all_parts_are_computed_few_at_once(tmp_path: Path) -> None:
    work = Squares(tmp_path, 20)
    cluster = Cluster(work)
    compute_in_window(work, work.missing()[3:], cluster)
    assert work.missing() == [0, 1, 2]
    assert cluster.most == 4


def test_window_follows_the_size_of_the_cluster(tmp_path: Path) -> None:
    work = Squares(tmp_path, 20)
    cluster = Cluster(work, slots=[0, 1, 5])
    compute_in_window(work, work.missing(), cluster)
    assert cluster.most == 10


def test_part_of_a_lost_worker_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    work = Squares(tmp_path, 5)
    with caplog.at_level(logging.INFO):
        compute_in_window(work, work.missing(), Cluster(work, {2: RETRIES, 4: 1}))
    assert work.missing() == []
    assert caplog.messages[-1] == "squares: 4 times a worker was lost, and its part was computed again by another"


def test_part_that_always_loses_its_worker_is_refused(tmp_path: Path) -> None:
    work = Squares(tmp_path, 5)
    with pytest.raises(GlowPipelineError, match=r"squares: part 2 has lost its worker 4 times \(it died\); if memory"):
        compute_in_window(work, work.missing(), Cluster(work, {2: RETRIES + 1}))


def test_error_of_a_part_ends_the_others(tmp_path: Path) -> None:
    work = Squares(tmp_path, 20, refused=2)
    cluster = Cluster(work)
    with pytest.raises(GlowPipelineError, match="part 2: is odd"):
        compute_in_window(work, work.missing(), cluster)
    assert cluster.cancelled
    assert 2 not in cluster.cancelled

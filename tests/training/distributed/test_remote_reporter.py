import math
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from glow_pipeline.errors import TrainingStopped
from glow_pipeline.flow import Glow
from glow_pipeline.training.distributed.remote_reporter import RemoteReporter, reports_taken
from glow_pipeline.training.history import Metrics


class StopAtTwo:
    """Keeps the reports, and stops after epoch 2."""

    def __init__(self) -> None:
        self.taken: list[tuple[Metrics, int]] = []

    def epoch(self, metrics: Metrics, step: int) -> bool:
        self.taken.append((metrics, step))
        return metrics["epoch"] == 2

    def samples(self, _flow: Glow, _epoch: int) -> None:
        pass


class StopsByNumpy(StopAtTwo):
    """Answers with a bool of NumPy, as pruners of Optuna do."""

    def epoch(self, metrics: Metrics, step: int) -> bool:
        return cast(bool, np.bool_(super().epoch(metrics, step)))


class Failing(StopAtTwo):
    """Fails at each report."""

    def epoch(self, metrics: Metrics, step: int) -> bool:
        raise ValueError("no database")


def test_each_report_is_taken_and_answered() -> None:
    reporter = StopAtTwo()
    with reports_taken(reporter) as remote:
        assert remote.epoch({"epoch": 1.0, "val": 1 / 3}, 10) is False
        assert remote.epoch({"epoch": 2.0, "val": math.inf}, 20) is True
    assert reporter.taken == [({"epoch": 1.0, "val": 1 / 3}, 10), ({"epoch": 2.0, "val": math.inf}, 20)]


def test_answer_may_be_a_bool_of_numpy() -> None:
    with reports_taken(StopsByNumpy()) as remote:
        assert remote.epoch({"epoch": 2}, 20) is True


def test_process_that_dies_while_reporting_may_restart() -> None:
    reporter = StopAtTwo()
    with reports_taken(reporter) as remote:
        Client(remote.address, authkey=remote.key).close()
        with Client(remote.address, authkey=remote.key) as connection:
            connection.send_bytes(b'[{"epoch": 1}, 5]')  # and does not wait for the answer
        assert remote.epoch({"epoch": 1}, 5) is False
    assert reporter.taken[-1] == ({"epoch": 1}, 5)


def test_reports_without_the_key_are_refused() -> None:
    reporter = StopAtTwo()
    with reports_taken(reporter) as remote:
        with pytest.raises(AuthenticationError):
            RemoteReporter(remote.address, b"guessed").epoch({"epoch": 1}, 5)
        remote.epoch({"epoch": 2}, 6)
    assert reporter.taken == [({"epoch": 2}, 6)]
    assert str(remote.key) not in repr(remote)


def test_failing_reporter_stops_the_training() -> None:
    answers = []
    with pytest.raises(ValueError, match="no database"), reports_taken(Failing()) as remote:
        answers.append(remote.epoch({"epoch": 1}, 5))
    assert answers == [True]


def test_nothing_is_left_when_the_block_fails() -> None:
    before = threading.active_count()
    with pytest.raises(TrainingStopped), reports_taken(StopAtTwo()) as remote:
        raise TrainingStopped(5, 143)
    assert threading.active_count() == before
    assert not Path(remote.address).exists()

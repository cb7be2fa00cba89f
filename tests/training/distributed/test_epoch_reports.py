import math
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path

import pytest

from glow_pipeline.training.distributed.epoch_reports import EpochReports, epochs_heard

Heard = list[tuple[dict[str, float], int]]


def test_each_report_is_heard_and_answered() -> None:
    heard: Heard = []

    def stop_at_two(metrics: dict[str, float], step: int) -> bool | None:
        heard.append((metrics, step))
        return True if metrics["epoch"] == 2 else None

    with epochs_heard(stop_at_two) as reports:
        assert reports.send({"epoch": 1.0, "val": 1 / 3}, 10) is False
        assert reports.send({"epoch": 2.0, "val": math.inf}, 20) is True
    assert heard == [({"epoch": 1.0, "val": 1 / 3}, 10), ({"epoch": 2.0, "val": math.inf}, 20)]


def test_process_that_dies_while_reporting_may_restart() -> None:
    heard: Heard = []
    with epochs_heard(lambda *report: heard.append(report)) as reports:
        Client(reports.address, authkey=reports.key).close()
        with Client(reports.address, authkey=reports.key) as connection:
            connection.send_bytes(b'[{"epoch": 1}, 5]')  # and does not wait for the answer
        assert reports.send({"epoch": 1}, 5) is False
    assert heard[-1] == ({"epoch": 1}, 5)


def test_reports_without_the_key_are_not_heard() -> None:
    heard: Heard = []
    with epochs_heard(lambda *report: heard.append(report)) as reports:
        with pytest.raises(AuthenticationError):
            EpochReports(reports.address, b"guessed").send({"epoch": 1}, 5)
        reports.send({"epoch": 2}, 6)
    assert heard == [({"epoch": 2}, 6)]
    assert str(reports.key) not in repr(reports)


def test_error_of_the_listener_stops_the_training() -> None:
    def wrong(_metrics: dict[str, float], _step: int) -> bool:
        raise ValueError("no database")

    answers = []
    with pytest.raises(ValueError, match="no database"), epochs_heard(wrong) as reports:
        answers.append(reports.send({"epoch": 1}, 5))
    assert answers == [True]


def test_nothing_is_left_when_the_block_fails() -> None:
    before = threading.active_count()
    with pytest.raises(SystemExit), epochs_heard(lambda *_: None) as reports:
        raise SystemExit(143)
    assert threading.active_count() == before
    assert not Path(reports.address).exists()

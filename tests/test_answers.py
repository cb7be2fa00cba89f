"""Waiting for the answers of storages."""

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from glow_pipeline import answers
from glow_pipeline.answers import answer_of


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Say so after a hundredth of a second; the event ends what is asked."""
    monkeypatch.setattr(answers, "SAID_AFTER", 0.01)
    end = threading.Event()
    yield end
    end.set()


def test_answer_comes_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert answer_of("s3://b", lambda: 7, 60) == 7
    assert not caplog.records


def test_error_of_the_storage_is_raised() -> None:
    with pytest.raises(OSError, match="refused"):
        answer_of("s3://b", lambda: (_ for _ in ()).throw(OSError("refused")))


def test_silent_storage_is_given_up(silent: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with pytest.raises(TimeoutError, match="no answer within 0 s"):
        answer_of("s3://b", silent.wait, 0.1)
    assert caplog.messages == ["s3://b: waiting for the storage to answer, for 0 s at most"]


def test_listing_is_waited_for_as_long_as_it_takes(silent: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    threading.Timer(0.1, silent.set).start()
    assert answer_of("s3://b", silent.wait)
    assert caplog.messages == ["s3://b: waiting for the storage to answer"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.usefixtures("silent")
def test_unknown_error_ends_the_wait() -> None:
    threads = []

    def ask() -> None:
        threads.append(threading.current_thread())
        threading.Event().wait(0.1)  # until somebody waits
        raise KeyError("a defect of the client")

    with pytest.raises(CancelledError):
        answer_of("s3://b", ask)
    threads[0].join()

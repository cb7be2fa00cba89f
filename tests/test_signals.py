"""Handlers of signals that are installed for a while."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from glow_pipeline.signals import SIGNALS, ExitOnSignals, SignalHandlers, interruption, unchanged_handlers


@pytest.fixture(autouse=True)
def before() -> Iterator[list[object]]:
    """Yield Python's own handlers, and restore those of pytest afterwards."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield [signal.getsignal(number) for number in SIGNALS]
    for number, handler in handlers.items():
        signal.signal(number, handler)


def present() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS)
def test_exit_code_is_128_and_the_number(before: list[object], number: signal.Signals) -> None:
    handlers = ExitOnSignals()
    handlers.install()
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(number)
    assert ended.value.code == 128 + number
    handlers.restore()
    assert present() == before
    handlers.restore()  # again changes nothing
    assert present() == before


def install_and_leave() -> None:
    handlers = ExitOnSignals()
    handlers.install()
    signal.raise_signal(signal.SIGINT)
    handlers.restore()


def interrupt_and_leave() -> None:
    with interruption() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert not interrupted


@pytest.mark.parametrize("work", [install_and_leave, interrupt_and_leave])
def test_ignored_signal_stays_ignored(work: Callable[[], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def end_of_forked_child(number: signal.Signals) -> int:
    """Fork a child that sends itself the signal; return its status."""
    child = os.fork()
    if child == 0:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:  # for which a DataLoader's workers wait
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("number", SIGNALS)
def test_forked_child_handles_signals_as_before(number: signal.Signals) -> None:
    with SignalHandlers(lambda _: None):
        assert os.WTERMSIG(end_of_forked_child(number)) == signal.SIGTERM
        with interruption() as interrupted:
            assert os.WTERMSIG(end_of_forked_child(number)) == signal.SIGTERM
            assert not interrupted


def test_interruption_notes_a_signal_once(before: list[object]) -> None:
    with interruption() as interrupted:
        assert not interrupted
        signal.raise_signal(signal.SIGINT)
        assert interrupted
        assert interrupted.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert interrupted.exit_code == 130
    assert present() == before


def test_signal_while_handlers_are_exchanged_is_noted(before: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    exchange, n_raised = signal.signal, 0

    def exchange_and_raise(number: int, handler: Any) -> Any:
        """Exchange a handler, and send the process all signals at once that it handles by then."""
        nonlocal n_raised
        previous = exchange(number, handler)
        for each in SIGNALS:
            if signal.getsignal(each) not in before:
                n_raised += 1
                os.kill(os.getpid(), each)
        return previous

    monkeypatch.setattr(signal, "signal", exchange_and_raise)
    with interruption() as requested:
        assert requested
    assert n_raised
    assert present() == before


def test_patient_interruption_notes_every_signal() -> None:
    with interruption(patient=True) as interrupted:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert interrupted.exit_code == 143


def test_other_threads_install_nothing(before: list[object]) -> None:
    seen: list[object] = []

    def work() -> None:
        with interruption(), unchanged_handlers(SIGNALS):
            seen.extend(present())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before


def test_handlers_of_libraries_are_undone(before: list[object]) -> None:
    with unchanged_handlers(SIGNALS):
        signal.signal(signal.SIGTERM, lambda *_: None)
    assert present() == before

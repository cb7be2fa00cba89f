"""Handling of SIGTERM, which schedulers send, and SIGINT, a person's Ctrl-C."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], Any] | int | None


class SignalHandlers:
    """A handler of some signals that is installed for a while. A context manager.

    Ignored signals stay ignored: a shell starts a background job with Ctrl-C ignored. A forked child, such as a
    DataLoader's worker, handles signals as if nothing had been installed. Outside the main thread nothing is installed,
    because Python allows it in the main thread only.

    Args:
        handle: takes the signal's number.
        signals: those that it handles.
    """

    def __init__(self, handle: Callable[[int], None], signals: Sequence[signal.Signals] = SIGNALS) -> None:
        self._handle, self._signals = handle, signals
        self._previous: dict[signal.Signals, Handler] = {}

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        process = os.getpid()
        previous = {number: signal.getsignal(number) for number in self._signals}

        def react(number: int, _frame: FrameType | None) -> None:
            if os.getpid() != process:
                signal.signal(number, previous[signal.Signals(number)])
                signal.raise_signal(number)
            else:
                self._handle(number)

        self._previous = {
            number: handler for number, handler in previous.items() if handler not in (signal.SIG_IGN, None)
        }
        for number in tuple(self._previous):  # a signal may come at once, and its handler restore some
            signal.signal(number, react)

    def restore(self, *numbers: int) -> None:
        """Restore the previous handlers of these signals, by default of all."""
        for number in numbers or tuple(self._previous):
            handler = self._previous.pop(signal.Signals(number), None)
            if handler is not None:  # a signal that came meanwhile may have restored it
                signal.signal(number, handler)

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.restore()


class ExitOnSignals(SignalHandlers):
    """Handlers that end the command with exit code 128 + the signal's number.

    The stack unwinds: temporary files are deleted, and the MLflow run ends as KILLED.
    """

    def __init__(self) -> None:
        super().__init__(_exit)


def _exit(number: int) -> NoReturn:
    raise SystemExit(128 + number)


class Interruption:
    """A request to this process to stop; true once it came.

    Attributes:
        signum: the first signal that requested it; 0 while there was none.
    """

    signum = 0

    def __bool__(self) -> bool:
        return self.signum != 0

    @property
    def exit_code(self) -> int:
        """Return the exit code by which shells report the signal: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.signum or signal.SIGTERM)


@contextmanager
def interruption(*, patient: bool = False) -> Iterator[Interruption]:
    """Note signals within the block instead of acting on them, so that a step can end and a checkpoint be written.

    A second signal of the same kind is handled by the previous handler.

    Args:
        patient: note every signal. A process that others start and end gets the same one from several of them.
    """
    interrupted = Interruption()

    def note(number: int) -> None:
        interrupted.signum = interrupted.signum or number
        if not patient:
            handlers.restore(number)

    handlers = SignalHandlers(note)  # bound before they are installed, since a signal may come at once
    with handlers:
        yield interrupted


@contextmanager
def unchanged_handlers(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """Restore these signals' handlers at the end of the block, whatever libraries install within it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may install any
        return
    previous = {number: signal.getsignal(number) for number in signals}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

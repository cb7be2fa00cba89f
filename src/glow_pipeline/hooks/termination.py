"""SIGTERM and Ctrl-C unwind the stack: temporary files go, and the MLflow run is ended as KILLED."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ExitOnSignals:
    """While it is installed, these signals end the command with exit code 128 + their number."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int] = {}

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():  # only there Python takes handlers
            return
        owner = os.getpid()
        # What is ignored stays so: a shell starts a background job with Ctrl-C ignored.
        before = {
            number: handler for number in SIGNALS if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
        }

        def leave(number: int, _frame: FrameType | None) -> None:
            if os.getpid() != owner:  # a forked worker, of a DataLoader say: as without us
                signal.signal(number, before[signal.Signals(number)])
                signal.raise_signal(number)
            else:
                raise SystemExit(128 + number)

        for number in before:
            signal.signal(number, leave)
        self._before = before

    def restore(self) -> None:
        """Put back the handlers from before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

"""Being asked to stop: SIGTERM from a scheduler, SIGINT from a person's Ctrl-C."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether this process has been asked to stop.

    Attributes:
        signum: the signal that asked first; 0 while none has.
    """

    signum = 0

    def __bool__(self) -> bool:
        return self.signum != 0

    @property
    def exit_code(self) -> int:
        """As shells tell it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.signum or signal.SIGTERM)


@contextmanager
def interruption(*, patient: bool = False) -> Iterator[Interruption]:
    """Within this block a signal is noted instead of acted on, so that a step can end and a checkpoint be written.

    A second one of the same kind is acted on as it was before.

    Args:
        patient: note every signal. A process that others start and end gets the same one from several sides.
    """
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may set handlers, and only it is interrupted
        return
    # What is ignored stays so: a shell starts a background job with Ctrl-C ignored.
    before = {
        signum: handler for signum in SIGNALS if (handler := signal.getsignal(signum)) not in (signal.SIG_IGN, None)
    }

    process = os.getpid()

    def note(signum: int, _frame: FrameType | None) -> None:
        if os.getpid() != process:  # a forked reader of images: it is to die of it, as it would have
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        asked.signum = asked.signum or signum
        if not patient:
            signal.signal(signum, before[signal.Signals(signum)])

    for signum in before:
        signal.signal(signum, note)
    try:
        yield asked
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)

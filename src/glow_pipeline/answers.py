"""Answers of storages, for which nobody waits long without a word."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

SAID_AFTER = 5.0  # seconds
GIVEN_UP_AFTER = 60.0
FAILURES = (OSError, ValueError, NotImplementedError)  # pyarrow's own errors are of these

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


def answer_of(place: str, ask: Callable[[], Answer], seconds: float | None = None) -> Answer:
    """Return what a storage answers; a line says that it is waited for.

    The clients of some clouds wait for four minutes, and no Ctrl-C reaches them: so they are asked in another thread,
    which is left behind where it does not end.

    Args:
        place: for the line.
        ask: returns the answer.
        seconds: after which it is given up; None: never, as the client has a limit of its own.

    Raises:
        TimeoutError: there was no answer.
    """
    answer: Future[Answer] = Future()
    Thread(target=_fulfil, args=(answer, ask), daemon=True).start()
    if not wait([answer], SAID_AFTER).done:
        until = "" if seconds is None else f", for {seconds:.0f} s at most"
        logger.info("%s: waiting for the storage to answer%s", place, until)
        if not wait([answer], None if seconds is None else seconds - SAID_AFTER).done:
            raise TimeoutError(f"no answer within {seconds:.0f} s")
    return answer.result()


def _fulfil(answer: Future[Answer], ask: Callable[[], Answer]) -> None:
    try:
        answer.set_result(ask())
    except FAILURES as error:
        answer.set_exception(error)
    finally:
        if not answer.done():  # another error, whose traceback the thread prints: nobody waits for ever
            answer.cancel()
            answer.set_running_or_notify_cancel()

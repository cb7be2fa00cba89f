"""Reports of each epoch by a training in other processes to this one, which answers whether to stop."""

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener

OnEpoch = Callable[[dict[str, float], int], bool | None]


@dataclass(frozen=True)
class EpochReports:
    """The address to report to; picklable for other processes of this machine.

    Attributes:
        address: of a Unix socket, on Windows of a named pipe.
        key: without which no report is accepted.
    """

    address: str
    key: bytes = field(repr=False)

    def send(self, metrics: dict[str, float], step: int) -> bool:
        """Report an epoch's metrics and the step at its end; return whether to stop."""
        with Client(self.address, authkey=self.key) as connection:
            connection.send_bytes(json.dumps([metrics, step]).encode())
            return bool(json.loads(connection.recv_bytes()))


@contextmanager
def epochs_heard(on_epoch: OnEpoch) -> Iterator[EpochReports]:
    """Call `on_epoch` for each report within the block, in a thread.

    If it raises, the training is stopped, and the error is raised at the end of the block.
    """
    key, failures, ended = secrets.token_bytes(32), list[Exception](), threading.Event()
    with Listener(authkey=key) as listener:

        def answer() -> None:
            while True:
                try:
                    with listener.accept() as connection:
                        report = json.loads(connection.recv_bytes())
                        if report is None:  # the end of the block
                            return
                        connection.send_bytes(json.dumps(_stops(on_epoch, report, failures)).encode())
                except (AuthenticationError, EOFError, OSError):  # a process died while it reported; it is restarted
                    if ended.is_set():  # the listener is closed
                        return

        reports = EpochReports(str(listener.address), key)
        thread = threading.Thread(target=answer, name="epoch_reports", daemon=True)
        thread.start()
        try:
            yield reports
        finally:
            ended.set()
            with Client(reports.address, authkey=key) as connection:
                connection.send_bytes(json.dumps(None).encode())
            thread.join()
    if failures:
        raise failures[0]


def _stops(on_epoch: OnEpoch, report: tuple[dict[str, float], int], failures: list[Exception]) -> bool:
    try:
        return bool(on_epoch(*report))
    except Exception as error:
        failures.append(error)
        return True

"""A reporter in other processes, whose reports this process takes and answers."""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener

from glow_pipeline.flow import Glow
from glow_pipeline.training.history import Metrics
from glow_pipeline.training.reporter import Reporter


@dataclass(frozen=True)
class RemoteReporter:
    """Reports epochs to a reporter in another process of this machine. Picklable; samples are not sent.

    Attributes:
        address: address of a Unix socket, on Windows of a named pipe.
        key: secret without which no report is accepted.
    """

    address: str
    key: bytes = field(repr=False)

    def epoch(self, metrics: Metrics, step: int) -> bool:
        with Client(self.address, authkey=self.key) as connection:
            connection.send_bytes(json.dumps([metrics, step]).encode())
            return bool(json.loads(connection.recv_bytes()))

    def samples(self, _flow: Glow, _epoch: int) -> None:
        pass


@contextmanager
def reports_taken(reporter: Reporter) -> Iterator[RemoteReporter]:
    """Pass reports of other processes to this process's reporter within the block, in a thread.

    If the reporter raises, the training is stopped, and the error is raised at the end of the block.
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
                        connection.send_bytes(json.dumps(_stops(reporter, report, failures)).encode())
                except (AuthenticationError, EOFError, OSError):  # a process died while it reported; it is restarted
                    if ended.is_set():  # the listener is closed
                        return

        remote = RemoteReporter(str(listener.address), key)
        thread = threading.Thread(target=answer, name="reports", daemon=True)
        thread.start()
        try:
            yield remote
        finally:
            ended.set()
            with Client(remote.address, authkey=key) as connection:
                connection.send_bytes(json.dumps(None).encode())
            thread.join()
    if failures:
        raise failures[0]


def _stops(reporter: Reporter, report: tuple[Metrics, int], failures: list[Exception]) -> bool:
    try:
        return bool(reporter.epoch(*report))  # JSON takes none of NumPy
    except Exception as error:
        failures.append(error)
        return True

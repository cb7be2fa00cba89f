"""A server on this machine in place of the network, and an address that refuses every connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import SourceFile

Answer = Callable[[BaseHTTPRequestHandler], None]


class Mirror:
    """Files of a server, and the requests that it received.

    Attributes:
        url: its address, with a slash at the end.
        files: path below the url -> content, or a function that answers in another way; 404 for all others.
        requests: requested paths, queries included, in their order.
        closing: set when the test is over; an answer that takes for ever waits for it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes | Answer] = {}
        self.requests: list[str] = []
        self.closing = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.path[1:])
        content = self.files.get(handler.path[1:].partition("?")[0])
        if content is None:
            handler.send_error(404)
        elif callable(content):
            content(handler)
        else:
            send(handler, content)


def send(handler: BaseHTTPRequestHandler, content: bytes, length: int | None = None) -> None:
    """Send a content, with the true length in the header or another one."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


def wait_for_later_times(path: Path, clock: Path) -> None:
    """Wait until changes have a later time stamp than that of a file: kernels may take the time of their last tick.

    Args:
        path: the file.
        clock: a file that is made for this.
    """
    clock.touch()
    while clock.stat().st_ctime_ns <= path.stat().st_ctime_ns:
        clock.touch()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A server that sends what the test puts into `files`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802  # as http.server calls it
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Ignore clients that were killed."""

    monkeypatch.setenv("no_proxy", "*")
    with Server(("127.0.0.1", 0), Handler) as server:
        served = Mirror(f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address on this machine, with a slash at the end, that refuses every connection."""
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as bound:  # but does not listen, so that no other program can on this port
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, RemoteFile]]:
    """(folder, file) of each published file that a source requests; none is read or fetched."""
    found: list[tuple[Path, RemoteFile]] = []

    def verified(file: RemoteFile, folder: Path) -> SourceFile:
        found.append((folder, file))
        return SourceFile(folder / file.name, "0" * 64)

    monkeypatch.setattr(RemoteFile, "verified", verified)
    return found

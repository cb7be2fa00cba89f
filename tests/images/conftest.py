"""A server on this machine that stands for the network, and a place that stands for none."""

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
    """What the server gives, and what it was asked for.

    Attributes:
        url: its address, with a slash at the end.
        files: by path below the url: a content, or a function that answers in another way; 404 for all others.
        requests: the paths that were asked for, queries included, in their order.
        closing: set when the test is over; an answer that takes for ever waits for it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes | Answer] = {}
        self.requests: list[str] = []
        self.closing = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.path[1:])
        given = self.files.get(handler.path[1:].partition("?")[0])
        if given is None:
            handler.send_error(404)
        elif callable(given):
            given(handler)
        else:
            send(handler, given)


def send(handler: BaseHTTPRequestHandler, content: bytes, length: int | None = None) -> None:
    """Send a content, and say that it is of some other length."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A server that gives what the test puts into `files`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802  # as http.server calls it
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that was killed is no news."""

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
    with socket.socket() as bound:  # and does not listen, so that nobody else can on this port
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, RemoteFile]]:
    """(folder, file) of each published file that a source wants; none is looked for or fetched."""
    asked: list[tuple[Path, RemoteFile]] = []

    def verified(file: RemoteFile, folder: Path) -> SourceFile:
        asked.append((folder, file))
        return SourceFile(folder / file.name, "0" * 64)

    monkeypatch.setattr(RemoteFile, "verified", verified)
    return asked

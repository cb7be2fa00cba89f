"""MLflow servers for tests: the real one, to be killed and started again, and a stub that fails as set."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from glow_pipeline.tracking.new_database import make_database
from tests.project import free_port


class MlflowServer:
    """`mlflow server` on a database of its own, in a process group of its own.

    Args:
        folder: of its log and artifacts.
        store: address of its database; None: a SQLite file in the folder.
    """

    def __init__(self, folder: Path, store: str | None = None) -> None:
        self.database, self.artifacts, self._folder = folder / "server.db", folder / "artifacts", folder
        self._store = store or f"sqlite:///{self.database}"
        if store is None:
            make_database(self.database)
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is not None:
            return
        typed = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        typed += ["--port", str(self._port), "--backend-store-uri", self._store]
        typed += ["--artifacts-destination", str(self.artifacts)]
        with (self._folder / "server.log").open("ab") as log:
            # Without the server's job runners, eight more processes.
            environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            self._process = subprocess.Popen(typed, env=environment, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=10):
                return
            time.sleep(0.1)
        raise TimeoutError((self._folder / "server.log").read_text())

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def points(self, run_id: str, key: str) -> list[tuple[int, float | None]]:
        """Steps and values (None: NaN) in the order of their times, read from the database itself."""
        with closing(sqlite3.connect(self.database)) as database:
            query = "select step, case is_nan when 1 then null else value end from metrics where run_uuid=? and key=?"
            return database.execute(f"{query} order by timestamp, step", (run_id, key)).fetchall()


class StubServer:
    """The calls that a metric logger makes, on one run.

    Attributes:
        away: answer 503 to everything. hangs: answer nothing for as long.
        refused: steps that are a bad parameter.
        batches: what came, a list of (key, value, timestamp, step) for each request.
        requested: keys whose history was requested.
        refuses_tags: answer 503 to tags alone. tags: that were set. tag_calls: how often one was to be set.
        calls: how many requests came, those that failed included.
    """

    def __init__(self, artifacts: Path) -> None:
        self.away = False
        self.hangs = threading.Event()
        self.hangs.set()  # set: does not hang
        self.refused: set[int] = set()
        self.batches: list[list[tuple[str, float, int, int]]] = []
        self.requested: list[str] = []
        self.calls = self.tag_calls = 0
        self.refuses_tags = False
        self.tags: dict[str, str] = {}
        self.artifacts = artifacts

    def steps(self) -> list[int]:
        return [batch[0][3] for batch in self.batches]

    def answer(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.calls += 1
        self.hangs.wait()
        if self.away:
            return 503, {}
        if path.endswith("/runs/log-batch"):
            batch = [(m["key"], float(m["value"]), int(m["timestamp"]), int(m["step"])) for m in body["metrics"]]
            if batch[0][3] in self.refused:
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "no such step"}
            self.batches.append(batch)
            return 200, {}
        if path.endswith("/runs/set-tag"):
            self.tag_calls += 1
            if self.refuses_tags:
                return 503, {}
            self.tags[body["key"]] = body["value"]
            return 200, {}
        if path.endswith("/logged-models/search"):
            return 200, {"models": []}
        if path.endswith("/metrics/get-history"):
            (key,) = query["metric_key"]
            self.requested.append(key)
            had = [point for batch in self.batches for point in batch if point[0] == key]
            return 200, {"metrics": [{"key": k, "value": v, "timestamp": t, "step": s} for k, v, t, s in had]}
        if path.endswith("/runs/get"):
            info = {"run_id": "a" * 32, "experiment_id": "0", "status": "RUNNING", "lifecycle_stage": "active"}
            return 200, {"run": {"info": {**info, "artifact_uri": self.artifacts.as_uri()}, "data": {}}}
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": path}


@contextmanager
def serving(stub: StubServer) -> Iterator[str]:
    """The address of the stub."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            url = urlparse(self.path)
            status, answer = stub.answer(url.path, parse_qs(url.query), body)
            with suppress(OSError):  # the caller has gone
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stub.hangs.set()
        server.shutdown()
        server.server_close()

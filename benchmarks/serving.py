"""Load test of the scoring server: images per second, and the time of a request.

    python benchmarks/serving.py [--params dataset=digits] [--requests 200] [--batch 16 1] [--clients 1 2] [--workers 1]

Starts `kedro serve` in the working directory, a project with a trained model and its images, at a free port of
127.0.0.1, sends it PNG files of the newest table of test images, and stops it. Clients share the requests of a row and
have one connection each; they run on the same machine. Prints a table in Markdown, and exits with 1 if a row of batches
of 16 has fewer than 50 images a second.
"""

import argparse
import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from PIL import Image

from glow_pipeline.flow.dequantization import Dequantization
from glow_pipeline.images.table import ImageTable

HOST = "127.0.0.1"
STARTED_WITHIN = 180.0  # seconds
PROMISED = 50.0  # images per second in batches of 16


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="dataset=digits", help="of the stored model, as `kedro serve` takes them")
    parser.add_argument("--requests", type=int, default=200, help="of each row")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 1], help="images per request")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2], help="requests at the same time")
    parser.add_argument("--workers", type=int, default=1, help="processes of the server")
    options = parser.parse_args()
    files = test_files(options.params, max(options.batch) * 8)
    slow = False
    print("| batch | clients | requests | images/s | p50 | p99 |\n|---|---|---|---|---|---|")  # noqa: T201
    with server(options.params, options.workers) as port:
        for batch in options.batch:
            for clients in options.clients:
                bodies = [body(files, i * batch, batch) for i in range(options.requests)]
                send(port, bodies[: 2 * options.workers])  # the first ones initialise the threads
                seconds, times = timed(port, bodies, clients)
                rate = options.requests * batch / seconds
                slow |= batch == 16 and rate < PROMISED
                p50, p99 = (1000 * np.quantile(times, [0.5, 0.99])).round(1)
                row = f"{batch} | {clients} | {options.requests} | {rate:.0f} | {p50} ms | {p99} ms"
                print(f"| {row} |", flush=True)  # noqa: T201
    sys.exit(int(slow))


def test_files(params: str, n: int) -> list[str]:
    """Return PNG files in base64 of images of the newest table of test images."""
    dataset = dict(part.split("=", 1) for part in params.split(","))["dataset"]
    folders = sorted(Path("data/03_primary").glob(f"{dataset}/*/test/*/test"), key=lambda folder: folder.parent.name)
    if not folders:
        sys.exit(f"data/03_primary/{dataset}: no test images; type kedro run --pipelines train --params {params}")
    table = ImageTable(folders[-1])
    images, _ = table[: min(n, len(table))]
    files = []
    for image in Dequantization(table.record.image_format.n_bits).expand(images).numpy():
        file = io.BytesIO()
        Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))).save(
            file, "PNG"
        )
        files.append(base64.b64encode(file.getvalue()).decode())
    return files


def body(files: list[str], first: int, batch: int) -> bytes:
    """Return the body of a request, of `batch` files from this one on, and again from the start after the last."""
    return json.dumps({"inputs": [files[i % len(files)] for i in range(first, first + batch)]}).encode()


@contextmanager
def server(params: str, workers: int) -> Iterator[int]:
    """Run the server within the block, and yield its port."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    typed = [sys.executable, "-m", "kedro", "serve", "--params", params, "--port", str(port), "--workers", str(workers)]
    process = subprocess.Popen(typed, stdout=sys.stderr, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_for(process, port)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until the server answers.

    Raises:
        TimeoutError: it does not.
    """
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/ping", timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"no server answers at {HOST}:{port}")


def timed(port: int, bodies: list[bytes], clients: int) -> tuple[float, list[float]]:
    """Send the requests from so many clients; return the seconds of all together and of each."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = list(pool.map(lambda part: send(port, part), [bodies[i::clients] for i in range(clients)]))
    return time.perf_counter() - started, [seconds for part in times for seconds in part]


def send(port: int, bodies: list[bytes]) -> list[float]:
    """Send requests one after the other over one connection, and return the seconds of each.

    Raises:
        RuntimeError: one is not answered by HTTP 200.
    """
    connection, times = HTTPConnection(HOST, port, timeout=60), []
    for content in bodies:
        started = time.perf_counter()
        connection.request("POST", "/invocations", content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        times.append(time.perf_counter() - started)
        if answer.status != 200:
            raise RuntimeError(f"HTTP {answer.status}: {text[:500].decode(errors='replace')}")
    connection.close()
    return times


if __name__ == "__main__":
    main()

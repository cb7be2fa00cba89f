"""Seconds until a storage is given up that accepts connections and never answers.

    python benchmarks/silent_storage.py

A socket of this machine plays the storage. Prints a Markdown table of the kinds of storage, and for each the seconds of
the check that a command makes before it starts. Takes about a minute, of which nearly all is waiting.
"""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from glow_pipeline.bucket_connection import connection_options
from glow_pipeline.buckets import Address
from glow_pipeline.errors import GlowPipelineError


def main() -> None:
    """Print the table."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        s3 = {"endpoint_override": place, "scheme": "http", "region": "us-east-1", "anonymous": True}
        google = {"endpoint_override": place, "scheme": "http", "anonymous": True}
        azure = {
            "account_key": "a2V5",
            **{f"{kind}_storage_authority": place for kind in ("blob", "dfs")},
            **{f"{kind}_storage_scheme": "http" for kind in ("blob", "dfs")},
        }
        rows = (
            ("S3", "s3://b/x", s3),
            ("Google Cloud", "gs://b/x", google),
            ("Azure", "abfs://b@a.dfs.core.windows.net/x", azure),
        )
        with ThreadPoolExecutor() as pool:  # all wait at once
            measured = [
                (name, pool.submit(seconds, Address(address, connection_options(address, options)).check_bucket))
                for name, address, options in rows
            ]
            print("| storage | given up after |\n|---|---|")  # noqa: T201
            for name, taken in measured:
                print(f"| {name} | {taken.result():.0f} s |", flush=True)  # noqa: T201


def seconds(ask: Callable[[], object]) -> float:
    """Return the seconds until a question fails."""
    start = time.perf_counter()
    try:
        ask()
    except (GlowPipelineError, OSError):
        return time.perf_counter() - start
    raise RuntimeError("the silent storage has answered")


if __name__ == "__main__":
    main()

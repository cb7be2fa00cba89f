"""Seconds of a second `kedro run --pipelines ingest` on a folder whose files have not changed.

    python benchmarks/second_command.py [--images 100000]

Writes PNGs of 8x8 into a temporary folder, and runs the command in a copy of the project: on the bundled digits, which
shows what any command takes; on the folder for the first time; again; and again with all contents read. Prints a
Markdown table of seconds and of processor seconds, which other work on the machine changes less.
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from startup import copy_project

COMMAND = [sys.executable, "-m", "kedro", "run", "--pipelines", "ingest", "--params"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="files in the folder, in ten classes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        write_images(Path(temporary) / "images", arguments.images)
        project = copy_project(Path(temporary))
        folder = f"dataset=folder,ingest.path={temporary}/images"
        print(f"| {os.cpu_count()} cores | seconds | of processors |")  # noqa: T201
        print("|---|---|---|")  # noqa: T201
        for what, params in (
            ("digits, first", "dataset=digits"),
            ("digits, second", "dataset=digits"),
            (f"{arguments.images:,} files, first", folder),
            ("second", folder),
            ("second, `ingest.verify=contents`", f"{folder},ingest.verify=contents"),
        ):
            seconds, processors = measured(project, params)
            print(f"| {what} | {seconds:.1f} | {processors:.1f} |", flush=True)  # noqa: T201


def write_images(folder: Path, count: int) -> None:
    """Write grey PNGs of 8x8, each another one."""
    random = np.random.default_rng(0)
    for number in range(count):
        stream = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(stream, "PNG")
        path = folder / f"class_{number % 10}" / f"{number:08}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream.getvalue())


def measured(project: Path, params: str) -> tuple[float, float]:
    """Return the seconds and the processor seconds of an ingest."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*COMMAND, params], cwd=project, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, used


if __name__ == "__main__":
    main()

"""Speed and memory of ingesting a folder of JPEGs, and speed of reading batches from a table.

    python benchmarks/ingest.py [--images 20000] [--workers 2]

Generates JPEGs of 256x256 in a temporary folder. The baseline is a bare Pillow loop: open, to RGB, resize to 32x32,
nothing else; ours is all of `TableWriter.write`, in its own process. Another run samples the memory of the process and
its workers (their proportional set size) ten times a second. Prints a Markdown table.
"""

import argparse
import io
import multiprocessing
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

from glow_pipeline.images.batches import Batches
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.images.table_files import IMAGES, LABELS, RECORD
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.threads import usable_cores

IMAGE_FORMAT = ImageFormat(channels=3, height=32, width=32, n_bits=8, fit="resize")
DISTINCT = 500  # pictures; the files repeat them, which changes no decoder's or checksum's speed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="JPEGs in the folder")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="decoding processes")
    parser.add_argument("--rounds", type=int, default=3, help="Pillow and ours in turn; the median counts")
    parser.add_argument("--ingest", type=Path, nargs=2, metavar=("FOLDER", "TABLE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ingest:
        folder, table = arguments.ingest
        ingest(folder, table, arguments.workers)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bytes_each = generate(folder / "jpegs", arguments.images)
        one, several, ours, checking = [], [], [], []
        for number in range(arguments.rounds):
            one.append(pillow(folder / "jpegs", 1))
            several.append(pillow(folder / "jpegs", arguments.workers))
            rate, _, seconds = measured_ingest(folder / "jpegs", folder / f"table{number}", arguments.workers)
            ours.append(rate)
            checking.append(arguments.images / seconds)
        # In a separate run: reading the memory stops the processes for milliseconds.
        _, peak, _ = measured_ingest(folder / "jpegs", folder / "watched", arguments.workers, watched=True)
        batches = measured_batches(folder / "batches")
    alone, together, written = (float(np.median(rates)) for rates in (one, several, ours))
    print("| what | measured | ratio |")  # noqa: T201
    print("|---|---|---|")  # noqa: T201
    for what, value, ratio in (
        (f"bare Pillow loop, 1 process ({bytes_each / 1024:.0f} kB a JPEG)", f"{alone:,.0f} images/s", "1"),
        (f"bare Pillow loop, {arguments.workers} processes at once", f"{together:,.0f} images/s", together / alone),
        (
            f"folder of {arguments.images:,} to table, {arguments.workers} workers",
            f"{written:,.0f} images/s",
            written / alone,
        ),
        ("... beside the loop times the workers", "", written / (alone * arguments.workers)),
        ("... beside the loop in as many processes at once", "", written / together),
        (
            "checksum of the folder, before it",
            f"{np.median(checking):,.0f} images/s",
            float(np.median(checking)) / alone,
        ),
        ("peak memory above the imports, all processes", f"{peak / 2**20:,.0f} MiB", ""),
        ("shuffled batches of 128 from a table, 3x32x32, 1 core", f"{batches:,.0f} images/s", ""),
    ):
        print(f"| {what} | {value} | {ratio if isinstance(ratio, str) else f'{ratio:.2f}'} |")  # noqa: T201


def generate(folder: Path, count: int) -> int:
    """Write JPEGs with the spectrum of photographs, for realistic decoding; return their mean size in bytes."""
    folder.mkdir()
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(DISTINCT):
        layers = [
            np.asarray(
                Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((256, 256)), np.float32
            )
            for side in (4, 16, 64, 256)
        ]
        mixed = sum(layer * weight for layer, weight in zip(layers, (0.55, 0.25, 0.12, 0.08), strict=True))
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(mixed, np.uint8)).save(buffer, "JPEG", quality=85)
        pictures.append(buffer.getvalue())
    for i in range(count):
        (folder / f"{i:07}.jpg").write_bytes(pictures[i % DISTINCT])
    return sum(map(len, pictures)) // DISTINCT


def pillow(folder: Path, processes: int) -> float:
    """Return the images a second of bare loops over up to 10,000 files, shared among processes."""
    files = sorted(str(path) for path in folder.iterdir())[:10_000]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        pool.map(_loop, [files[:8]] * processes)
        started = time.perf_counter()
        pool.map(_loop, [files[i::processes] for i in range(processes)], chunksize=1)
        return len(files) / (time.perf_counter() - started)


def _loop(files: list[str]) -> None:
    for file in files:
        with Image.open(file) as image:
            np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))


def measured_ingest(folder: Path, table: Path, workers: int, watched: bool = False) -> tuple[float, int, float]:
    """Return images a second, peak memory above the imports in bytes (if `watched`), and seconds of the checksum."""
    command = [sys.executable, __file__, "--workers", str(workers), "--ingest", str(folder), str(table)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "imported\n"
        tree = psutil.Process(process.pid)
        before, peak, over = _memory(tree), 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while watched and not over.wait(0.1):
                peak = max(peak, _memory(tree))

        watcher = threading.Thread(target=watch)
        watcher.start()
        process.stdin.write("\n")
        process.stdin.flush()
        checking, writing, count = (float(value) for value in process.stdout.readline().split())
        over.set()
        watcher.join()
    return count / writing, peak - before, checking


def _memory(tree: psutil.Process) -> int:
    """Return the proportional set size of a process and its children: shared memory counts once."""
    total = 0
    for process in (tree, *tree.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def ingest(folder: Path, table: Path, workers: int) -> None:
    """Ingest a folder in this process, for `measured_ingest`."""
    sys.stdout.write("imported\n")
    sys.stdout.flush()
    sys.stdin.readline()
    image_selection = ImageSelection.of_folder(str(folder), str(folder), 10.0, 0)
    started = time.perf_counter()
    plan = plan_table(image_selection, "test", IMAGE_FORMAT, folder.parent, num_workers=workers)
    planned = time.perf_counter()
    plan.write(table)
    written = time.perf_counter()
    sys.stdout.write(f"{planned - started} {written - planned} {len(ImageTable(table))}\n")


def measured_batches(folder: Path) -> float:
    """Return the images a second of a second pass over 100,000 images in random order, on one core."""
    torch.set_num_threads(1)
    count = 100_000
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (count, *IMAGE_FORMAT.shape), dtype=np.uint8)
    np.save(folder / IMAGES, pixels)
    np.save(folder / LABELS, np.zeros(count, dtype=np.int64))
    record = TableRecord(
        image_selection=ImageSelection.of("noise"),
        split="train",
        image_format=IMAGE_FORMAT,
        source_files={},
        on_unreadable="stop",
        made_with={},
        count=count,
        num_classes=1,
    )
    (folder / RECORD).write_text(record.model_dump_json())
    batches = Batches(ImageTable(folder), 128, torch.device("cpu"))
    for _ in range(2):
        started = time.perf_counter()
        seen = sum(len(batch.images) for batch in batches.shuffled(torch.Generator().manual_seed(0)))
        seconds = time.perf_counter() - started
    return seen / seconds


if __name__ == "__main__":
    main()

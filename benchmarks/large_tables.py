"""Memory and time that large tables take on one machine. `python benchmarks/large_tables.py`; Linux alone.

A table of 100 million images takes 0.8 GB of disk here, since its pixels and labels are holes. Each figure of memory is
of a process of its own: its peak (`VmHWM`), memory maps included. The cold reads are from a file of 3 GB whose pages
are dropped before each round, by the former code and by the present in turn.
"""

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content_sets import are_among, distinct
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.parts import Parts, count_copies, split_parts
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.stored_images import StoredImages
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.images.table_files import CONTENT, IMAGES, LABELS, RECORD, write_names

MIB = 2**20
FORMAT = ImageFormat(channels=3, height=64, width=64, n_bits=8, fit="resize")
COLD_SHAPE = (3, 32, 32)
BATCH = 128
BURST = 8 * BATCH  # images that are read after the pages were dropped


def main() -> None:
    """Print all figures, or measure one step in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000_000, help="of the sparse table")
    parser.add_argument("--names", type=int, default=5_000_000, help="that are read")
    parser.add_argument("--hashes", type=int, default=5_000_000, help="that are compared")
    parser.add_argument("--cold", type=int, default=1_000_000, help="images of 3 KiB in the file that is read cold")
    parser.add_argument("--rounds", type=int, default=20, help="of cold reads")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: that of temporary files")
    parser.add_argument("--step", nargs=2, metavar=("NAME", "TABLE"), help=argparse.SUPPRESS)  # in its own process
    options = parser.parse_args()
    if options.step:
        measure(STEPS[options.step[0]], Path(options.step[1]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        write_sparse(folder / "table", options.images)
        for name in ("open", "split and first batch", "rows sent to a process", "copies", "hashes in a model's file"):
            print_step(f"{options.images:,} images", name, folder / "table")
        write_sparse(folder / "named", options.names)
        write_names(folder / "named", [(f"class_{i % 99:02}/{i:016}.png" for i in range(options.names))])
        print_step(f"{options.names:,} images", "names", folder / "named")
        compared_hashes(options.hashes)
        cold_reads(folder / "cold.npy", options.cold, options.rounds)


# Memory ------------------------------------------------------------------------------------------


def write_sparse(folder: Path, count: int) -> None:
    """Write a table whose pixels and labels are holes, and whose content hashes are random."""
    folder.mkdir()
    for name, descr, shape in ((IMAGES, "|u1", (count, *FORMAT.shape)), (LABELS, "<i8", (count,))):
        with (folder / name).open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
            file.truncate(file.tell() + np.dtype(descr).itemsize * int(np.prod(shape)))
    random = np.random.default_rng(0)
    with (folder / CONTENT).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (count,)})
        for start in range(0, count, MIB):
            file.write(random.integers(-(2**63), 2**63 - 1, min(MIB, count - start)).data)
    record = TableRecord(
        image_selection=ImageSelection.of("noise"),
        split="train",
        image_format=FORMAT,
        source_files={},
        on_unreadable="stop",
        made_with={},
        count=count,
        num_classes=1,
    )
    (folder / RECORD).write_text(record.model_dump_json())


def parts_of(folder: Path) -> Parts:
    """Split the table, as each training does."""
    return split_parts(ImageTable(folder), 10.0, 0.0, seed=0)


def first_batch(folder: Path) -> None:
    """Split the table and read the first batch of a training."""
    next(Batches(parts_of(folder).fit, BATCH, torch.device("cpu")).shuffled(torch.Generator().manual_seed(0)))


def sent_rows(folder: Path) -> None:
    """Split the table, and send its largest part to another process."""
    sent = pickle.dumps(parts_of(folder).fit)
    sys.stdout.write(f"{len(sent) / MIB:.1f} MiB are sent; ")
    assert len(pickle.loads(sent))


def copies(folder: Path) -> None:
    """Split the table and count the copies in it."""
    parts = parts_of(folder)
    count_copies(parts, parts.validation)


def hashes_in_file(folder: Path) -> None:
    """Split the table, and write the content hashes of the images that a model is trained on, as its file has them."""
    from glow_pipeline.training.model_file import TRAINED_ON  # the other steps do without the memory of these imports
    from glow_pipeline.training.safetensors_file import write_safetensors

    parts = parts_of(folder)
    trained_on = distinct([parts.fit.stored_hashes, parts.validation.stored_hashes])
    write_safetensors(folder / "hashes.safetensors", {TRAINED_ON: torch.from_numpy(trained_on)}, {})


def names(folder: Path) -> None:
    """Read all names of files."""
    assert sum(len(name) > 0 for name in ImageTable(folder).names or ()) == ImageTable(folder).record.count


STEPS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _folder: None,
    "open": ImageTable,
    "split and first batch": first_batch,
    "rows sent to a process": sent_rows,
    "copies": copies,
    "hashes in a model's file": hashes_in_file,
    "names": names,
}


def print_step(title: str, name: str, folder: Path) -> None:
    """Print a step's figures, which a process of its own measures."""
    command = [sys.executable, __file__, "--step", name, str(folder)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"{title}, {name}: {printed}", end="", flush=True)  # noqa: T201


def measure(step: Callable[[Path], object], folder: Path) -> None:
    """Print the time and the memory of a step in this process."""
    before = memory()["VmRSS"]
    started = time.perf_counter()
    kept = step(folder)
    seconds = time.perf_counter() - started
    after = memory()
    del kept
    sys.stdout.write(
        f"{seconds:.2f} s, peak {after['VmHWM']:,.0f} MiB, {after['VmHWM'] - before:,.0f} above the imports; "
        f"at the end {after['RssAnon']:,.0f} MiB of its own and {after['RssFile']:,.0f} of files\n"
    )


def memory() -> dict[str, float]:
    """Return the figures of /proc/self/status in MiB. (The peak that `getrusage` has includes the parent's.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {
        key: int(value.split()[0]) / 1024 for key, _, value in (line.partition(":") for line in lines) if "kB" in value
    }


def compared_hashes(count: int) -> None:
    """Print the time of counting copies, by numpy's functions and by those that are used, in turn."""
    hashes = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, count)
    some = hashes[: count // 10].copy()
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        f"different of {count:,} hashes": (lambda: np.unique(hashes), lambda: distinct([hashes])),
        f"which of {len(some):,} are among {count:,}": (
            lambda: np.isin(some, hashes),
            lambda: are_among(some, [hashes]),
        ),
    }
    for title, functions in pairs.items():
        seconds = []
        for function in functions:
            started = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - started)
        print(f"{title}: numpy {seconds[0]:.2f} s, here {seconds[1]:.2f} s, {seconds[0] / seconds[1]:.0f} x")  # noqa: T201


# Cold reads --------------------------------------------------------------------------------------

Read = Callable[[NDArray[np.int64]], object]


def former(path: Path, _count: int) -> Read:
    """Versions before December 2026: numpy gathers the rows from the memory map."""
    images = np.load(path, mmap_mode="r")
    return lambda rows: images[rows]


def present(path: Path, count: int) -> Read:
    """As if the file were larger than the memory."""
    return StoredImages([path], [count], COLD_SHAPE, memory=0).__getitem__


def present_in_order(path: Path, count: int) -> Read:
    """Rows that follow each other, which need no array."""
    images = StoredImages([path], [count], COLD_SHAPE, memory=0)
    return lambda rows: images[range(int(rows[0]), int(rows[-1]) + 1)]


READERS: dict[str, tuple[Callable[[Path, int], Read], bool, bool]] = {  # name -> (reader, shuffled, cold)
    "cold, shuffled, former": (former, True, True),
    "cold, shuffled, present": (present, True, True),
    "cold, in order, former": (former, False, True),
    "cold, in order, present": (present_in_order, False, True),
    "warm, shuffled, former": (former, True, False),
    "warm, shuffled, present": (present, True, False),
}


def cold_reads(path: Path, count: int, rounds: int) -> None:
    """Print how fast batches are read, by the former code and the present in turn."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *COLD_SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, 1000):
            file.write(random.integers(0, 256, (min(1000, count - start), *COLD_SHAPE), dtype=np.uint8).data)
        file.flush()
        os.fsync(file.fileno())  # pages that are not on the disk yet cannot be dropped
    rates: dict[str, list[float]] = {name: [] for name in READERS}
    for number in range(rounds):
        shuffled = np.random.default_rng(number).permutation(count)
        for name, (reader, is_shuffled, is_cold) in READERS.items():
            # Few images at a time: what the system reads around them would soon be all of this file, which unlike a
            # large table fits into memory.
            n = BURST if is_shuffled and is_cold else count // 10
            order = shuffled[:n] if is_shuffled else np.arange(n)
            if is_cold:
                drop_pages(path)
            else:
                rate(reader(path, count), order)
            rates[name].append(rate(reader(path, count), order))
    for name, measured in rates.items():
        ratio = statistics.median(measured) / statistics.median(rates[f"{name.rpartition(', ')[0]}, former"])
        print(  # noqa: T201
            f"{name}: {statistics.median(measured):,.0f} images/s ({min(measured):,.0f}-{max(measured):,.0f}), "
            f"{ratio:.2f} x the former"
        )


def drop_pages(path: Path) -> None:
    """Drop the file's pages from memory, which takes no right but needs that nobody maps them."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(read: Read, order: NDArray[np.int64]) -> float:
    """Return how many images a second are read."""
    started = time.perf_counter()
    for start in range(0, len(order), BATCH):
        read(order[start : start + BATCH])
    return len(order) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()

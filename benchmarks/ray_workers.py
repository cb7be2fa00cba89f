"""Speed of an ingest by two Ray workers beside two processes, in turn: the engines `ray` and `processes`.

    RAY_worker_niceness=0 python benchmarks/ray_workers.py [--images 20000] [--rounds 3] [--part-images 2048]

Generates JPEGs of 256x256 in a temporary folder, as `benchmarks/ingest.py`. Both make the table of 3x32x32 from them,
on a machine whose cores nobody else uses: Ray's workers, of niceness 15 by default, would wait for others. Starting
Ray, and its workers' imports, are measured apart from the ingests. Prints a Markdown table, and the SHA-256 of both
tables.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from ingest import IMAGE_FORMAT, generate
from table_sha256 import table_sha256

from glow_pipeline.images.ingest_parts import IngestParts, images_of_part
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_commit import commit
from glow_pipeline.images.table_writer import TableWriter, plan_table
from glow_pipeline.stores import FolderStore
from glow_pipeline.workers.choice import Workers
from glow_pipeline.workers.engines import finish
from glow_pipeline.workers.ray_cluster import connected_ray


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="JPEGs in the folder")
    parser.add_argument("--rounds", type=int, default=3, help="processes and Ray in turn; the median counts")
    parser.add_argument("--workers", type=int, default=2, help="processes, and cores of the Ray cluster")
    parser.add_argument("--part-images", type=int, default=None, help="images of a part; default: as for users")
    arguments = parser.parse_args()
    os.environ["RAY_ADDRESS"] = "local"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        generate(folder / "jpegs", arguments.images)
        generate(folder / "few", 64)
        started = time.perf_counter()
        connected_ray(arguments.workers)
        by_ray(plan(folder / "few", 0), folder / "warm", Workers("ray", part_images=64 // arguments.workers))
        start = time.perf_counter() - started
        rates: dict[str, list[float]] = {"processes": [], "ray": []}
        for number in range(arguments.rounds):
            for engine in rates:
                table, planned = folder / f"{engine}{number}", plan(folder / "jpegs", arguments.workers)
                started = time.perf_counter()
                if engine == "ray":
                    n_parts = by_ray(planned, table, Workers(engine, part_images=arguments.part_images))
                else:
                    planned.write(table)
                rates[engine].append(arguments.images / (time.perf_counter() - started))
        digests = {engine: table_sha256(ImageTable(folder / f"{engine}0")) for engine in rates}
    medians = {engine: float(np.median(found)) for engine, found in rates.items()}
    lines = [
        "| what | measured | ratio |",
        "|---|---|---|",
        f"| {arguments.workers} processes | {medians['processes']:,.0f} images/s | 1 |",
        f"| {arguments.workers} Ray workers, {n_parts} parts | {medians['ray']:,.0f} images/s | "
        f"{medians['ray'] / medians['processes']:.2f} |",
        f"| before that: start of Ray, imports of its workers | {start:.1f} s | |",
        *(f"{digest}  {engine}" for engine, digest in digests.items()),
    ]
    print("\n".join(lines))  # noqa: T201


def plan(folder: Path, workers: int) -> TableWriter:
    """List and checksum a folder."""
    selection = ImageSelection.of_folder(str(folder), str(folder), 10.0, 0)
    return plan_table(selection, "test", IMAGE_FORMAT, folder.parent, num_workers=workers)


def by_ray(planned: TableWriter, table: Path, workers: Workers) -> int:
    """Make a table by the engine `ray`, and return the number of its parts."""
    part_images = images_of_part(planned, workers, len(planned.images.rows))
    work = IngestParts(planned, FolderStore(table.with_name(f".parts-{table.name}")), part_images)
    assert finish(work, workers.engine)
    commit(work, table)
    return len(work.sizes)


if __name__ == "__main__":
    main()

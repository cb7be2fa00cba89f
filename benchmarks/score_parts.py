"""Scores of a table in one pass, in parts, by two processes, and by a process that is killed and started again.

    python benchmarks/score_parts.py                  # FashionMNIST's test images; --images 3000 takes fewer
    python benchmarks/score_parts.py --rounds 5

Each round takes the ways in turn, and the result is the median of each. CPU seconds are those of this process and of
those that it started. Every way has to give the same bits: the script ends with an error if one does not.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory

import numpy as np
import torch

from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.score_parts import ScoreParts, Scorer
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scoring import score_table
from glow_pipeline.stores import FolderStore
from glow_pipeline.workers.engines import finish
from glow_pipeline.workers.fingerprint import Fingerprint
from glow_pipeline.workers.part_work import Seat

RAW = Path(__file__).parents[1] / "data" / "01_raw"
FORMAT = ImageFormat(channels=1, height=28, width=28, n_bits=8, fit="resize")
REQUESTED = [SCORES["nll"], SCORES["input_complexity"]]
PARTS = 20
KILLED_AT = 0.6  # of the parts


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=10_000)
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    flow = Glow((1, 28, 28), K=8, L=2, hidden_channels=64, n_bits=8, generator=torch.Generator().manual_seed(0))
    scorer = Scorer(flow.eval(), REQUESTED, OtherModels(), 0, 1, 256, "cpu", threads=1)
    with TemporaryDirectory() as folder:
        table = Path(folder) / "table"
        plan_table(ImageSelection.of("fashionmnist"), "test", FORMAT, RAW).write(table)
        images = ImageTable(table).subset(np.arange(given.images))
        ways: dict[str, Callable[[Path], str]] = {
            "one pass": lambda _: in_one_pass(scorer, images),
            "parts, 1 process": lambda store: in_parts(scorer, images, store, 1),
            "parts, 2 processes": lambda store: in_parts(scorer, images, store, 2),
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        digests = set()
        for number in range(given.rounds):
            for name, way in ways.items():
                wall, cpu = time.perf_counter(), cpu_seconds()
                digests.add(way(Path(folder) / f"{name} {number}"))
                seconds[name].append((time.perf_counter() - wall, cpu_seconds() - cpu))
        for name, measured in seconds.items():
            wall, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
            say(f"{name:20} {wall:7.1f} s   {cpu:7.1f} CPU s   {len(images) / wall:7.0f} images/s")
        digests.add(killed(scorer, images, Path(folder) / "killed"))
    say(f"SHA-256 of the scores: {' '.join(sorted(digests))}")
    sys.exit(len(digests) > 1)


def in_one_pass(scorer: Scorer, images: ImageTable) -> str:
    """Return the digest of the scores of a pass without parts."""
    torch.set_num_threads(1)
    return digest(score_table(scorer.flow, Batches(images, 256, torch.device("cpu")), scorer.scores, 0))


def in_parts(scorer: Scorer, images: ImageTable, folder: Path, processes: int) -> str:
    """Return the digest of the scores in parts."""
    work = parts_of(scorer, images, folder)
    finish(work, "processes", processes=processes)
    return stored_digest(work)


def killed(scorer: Scorer, images: ImageTable, folder: Path) -> str:
    """Kill a process that scores, and score the rest here."""
    work = parts_of(scorer, images, folder)
    process = multiprocessing.get_context("spawn").Process(target=run_all, args=(work,))
    process.start()
    while len(work.missing()) > (1 - KILLED_AT) * len(work.sizes):
        time.sleep(0.01)
    process.kill()
    process.join()
    missing = work.missing()
    again = sum(work.run(missing, Seat()))
    say(f"killed with {len(work.sizes) - len(missing)} of {len(work.sizes)} parts stored; then {again} images scored")
    return stored_digest(work)


def run_all(work: ScoreParts) -> None:
    """Score all parts, in a process that is killed."""
    for _ in work.run(work.missing(), Seat()):
        pass


def parts_of(scorer: Scorer, images: ImageTable, folder: Path) -> ScoreParts:
    """Return the work of scoring the images in `PARTS` parts."""
    return ScoreParts(scorer, [images], [FolderStore(folder)], -(-len(images) // PARTS), Fingerprint("", {}, ""))


def stored_digest(work: ScoreParts) -> str:
    """Return the digest of the scores of a finished work."""
    (scored,) = work.scored()
    return digest({score.column: scored.column(score.column) for score in work.scorer.scores})


def digest(columns: dict[str, np.ndarray]) -> str:
    """Return the start of the SHA-256 of scores."""
    return sha256(b"".join(columns[name].tobytes() for name in sorted(columns))).hexdigest()[:16]


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it has started and that have ended."""
    return sum(used.ru_utime + used.ru_stime for used in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()

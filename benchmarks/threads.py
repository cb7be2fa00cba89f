"""Measure the effect of choosing the number of threads: images per second, idle and beside a busy loop.

    python benchmarks/threads.py [--seconds 15] [--rounds 3] [--before ../older/checkout]

Trains a Glow of the preset `fashionmnist` (K=8, L=3, hidden 64, 1x32x32, batch 128) on random images, by `train`, in
processes of its own that alternate: with all threads (`train.threads`, or the code of another checkout, which has to
have the same names) and with as many as are chosen. First on the machine as it is, then with one `while True: pass`
beside it. Prints a table in Markdown, and exits with 1 if the chosen number is more than 3% slower idle, or less than
twice as fast beside the loop.
It takes about 2 * 2 * rounds * (seconds + 10) seconds, and wants a machine on which nothing else runs.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
IDLE, BUSY = "idle", "one busy loop"
SLOWER, FASTER = 0.97, 2.0  # the promised limits for the chosen number
# Trains for some seconds with the code on PYTHONPATH, and prints steps per second.
TRAIN = """
import json, logging, sys, tempfile, time
from pathlib import Path
import numpy as np
from glow_pipeline.images import table
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.parameters import Parameters
from glow_pipeline.training import step as steps
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.records import Provenance
from glow_pipeline.training.task import TrainingTask
from glow_pipeline.training.train import train as train_flow

seconds, train = float(sys.argv[1]), json.loads(sys.argv[2])
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
folder = Path(tempfile.mkdtemp())
random = np.random.default_rng(0)
n = 128 * 400
np.save(folder / table.IMAGES, random.integers(0, 256, (n, 1, 32, 32), dtype=np.uint8))
np.save(folder / table.LABELS, np.zeros(n, dtype=np.int64))
image_format = ImageFormat(channels=1, height=32, width=32, n_bits=8, fit="pad")
record = table.TableRecord(
    image_selection=ImageSelection.of("fashionmnist"), split="train", image_format=image_format, count=n,
    num_classes=10, source_files={}, on_unreadable="stop", made_with={},
)
(folder / table.RECORD).write_text(record.model_dump_json())
images = table.ImageTable(folder)
parameters = Parameters.model_validate({"dataset": "fashionmnist", "device": "cpu", "train": train})
call, ended = steps.TrainingStep.__call__, []

class Enough(Exception):
    pass

def counted(self, *inputs):
    if ended and time.perf_counter() - ended[0] > seconds:
        print((len(ended) - 1) / (time.perf_counter() - ended[0]))
        raise Enough
    bits_per_dim = call(self, *inputs)
    ended.append(time.perf_counter())
    return bits_per_dim

steps.TrainingStep.__call__ = counted
task = TrainingTask(images, images.subset(np.arange(128)), parameters, Provenance())
try:
    train_flow(task, untrained_flow(parameters, image_format, 10))
except Enough:
    pass
"""
BATCH = 128


def main() -> None:
    """Print the table, and exit by the promised limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="of training in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind; the median counts")
    parser.add_argument("--before", type=Path, help="a checkout whose code is the measure; else train.threads=<all>")
    arguments = parser.parse_args()
    all_cores = len(os.sched_getaffinity(0))

    def before() -> float:
        if arguments.before is None:
            return images_per_second(ROOT, arguments.seconds, f'{{"threads": {all_cores}}}')
        return images_per_second(arguments.before, arguments.seconds, "{}")

    def now() -> float:
        return images_per_second(ROOT, arguments.seconds, "{}")

    rows = {IDLE: compared(before, now, arguments.rounds)}
    with busy_loop():
        rows[BUSY] = compared(before, now, arguments.rounds)
    print(f"{all_cores} cores, images/s (range of {arguments.rounds} rounds)\n")  # noqa: T201
    print("| machine | all threads | chosen | ratio |\n|---|---|---|---|")  # noqa: T201
    for machine, (measure, ours) in rows.items():
        ratio = statistics.median(ours) / statistics.median(measure)
        print(f"| {machine} | {in_words(measure)} | {in_words(ours)} | {ratio:.2f} |")  # noqa: T201
    idle, busy = (statistics.median(ours) / statistics.median(measure) for measure, ours in rows.values())
    sys.exit(0 if idle >= SLOWER and busy >= FASTER else 1)


def compared(before: Callable[[], float], now: Callable[[], float], rounds: int) -> tuple[list[float], list[float]]:
    """Return the speeds of both, measured by turns."""
    pairs = [(before(), now()) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def images_per_second(project: Path, seconds: float, train: str) -> float:
    """Train in a process of its own with the code of this checkout.

    Args:
        project: whose `src` is imported.
        seconds: of training, from the end of the first step on.
        train: parameters of the group `train`, as JSON.
    """
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    environment.pop("OMP_NUM_THREADS", None)
    with tempfile.TemporaryDirectory() as temporary:
        environment["TMPDIR"] = temporary
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, str(seconds), train],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    return BATCH * float(done.stdout)


@contextmanager
def busy_loop() -> Iterator[None]:
    """Run a process that computes without end beside this one within the block."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    time.sleep(1.0)
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def in_words(speeds: list[float]) -> str:
    """Return median and range."""
    return f"{statistics.median(speeds):.0f} ({min(speeds):.0f}-{max(speeds):.0f})"


if __name__ == "__main__":
    main()

"""Time that training waits for its images: `python benchmarks/input.py`.

Compares training steps on batches from a table with steps on one batch that stays on the device; both alternate, and
the result is the median ratio. 1.00: the device never waits. The table is a memory map, as ingest writes it, read in
the ways of `train.data_on_device` and `train.num_workers`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.device import describe_device, resolve_precision, use_device
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.images.batches import Batch, Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.randomness import generator
from glow_pipeline.training.acceleration import accelerated
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.inputs import inputs_of
from glow_pipeline.training.step import TrainingStep

SHAPE = (3, 32, 32)
STEPS = 20  # in a row of each kind


class RandomTable:
    """An ImageTable of random pixels, with the attributes that `Batches` uses."""

    def __init__(self, folder: Path, n: int) -> None:
        np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (n, *SHAPE), np.uint8))
        self._images = np.load(folder / "images.npy", mmap_mode="r")
        self.labels = torch.zeros(n, dtype=torch.int64)
        self.record = SimpleNamespace(image_format=SimpleNamespace(shape=SHAPE))

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: slice) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._images[rows].copy()), self.labels[rows]


def endless(batches: Batches) -> Iterator[Batch]:
    """Yield the shuffled batches of epoch after epoch."""
    for epoch in cycle(range(1000)):
        yield from batches.shuffled(generator(0, "shuffle", epoch))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--K", type=int, default=8)
    parser.add_argument("--hidden-channels", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = use_device(options.device)
    flow = Glow(SHAPE, options.K, 3, options.hidden_channels, generator=generator(0, "weights")).to(device)
    flow.execution = Execution(precision=resolve_precision("auto", device))
    with tempfile.TemporaryDirectory() as folder:
        table = cast(ImageTable, RandomTable(Path(folder), options.images))
        ways = {
            "in the device's memory": Batches(table, options.batch_size, device, drop_last=True, on_device=True),
            "read and copied": Batches(table, options.batch_size, device, drop_last=True),
            "read by 2 processes and copied": Batches(table, options.batch_size, device, 2, drop_last=True),
        }
        streams = {way: endless(batches) for way, batches in ways.items()}
        fixed = next(iter(ways["in the device's memory"]))
        flow.initialize(inputs_of(flow, fixed, 0, 0)[0])
        step = TrainingStep(flow, Adamax(flow.parameters(), lr=1e-5), 0.0, 10)
        fast = accelerated(step, "auto", lambda: inputs_of(flow, fixed, 0, 0))

        def seconds(batches: Iterator[Batch]) -> float:
            started = time.perf_counter()
            for number in range(STEPS):
                values = fast(*inputs_of(flow, next(batches), 0, number))
            values.item()  # waits for the device
            return time.perf_counter() - started

        took: dict[str, list[float]] = {"one fixed batch": [], **{way: [] for way in ways}}
        for _ in range(options.rounds + 1):  # the first round warms up
            took["one fixed batch"].append(seconds(cycle([fixed])))
            for way, batches in streams.items():
                took[way].append(seconds(batches))
    on = describe_device(device, threads=torch.get_num_threads())
    print(f"K={options.K} hidden {options.hidden_channels}, batch {options.batch_size}, {on}\n")  # noqa: T201
    print("| images | speed |\n|---|---|")  # noqa: T201
    base = took["one fixed batch"][1:]
    for way, times in took.items():
        print(f"| {way} | {statistics.median(a / b for a, b in zip(base, times[1:], strict=True)):.2f} |")  # noqa: T201


if __name__ == "__main__":
    main()

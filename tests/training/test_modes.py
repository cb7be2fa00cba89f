"""Training in each mode of computation learns the same, but for rounding. Minutes."""

import gzip
import os
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import TrainParameters
from glow_pipeline.randomness import generator
from glow_pipeline.training.trainer import Trainer
from tests.conftest import MakeTable
from tests.training.helpers import checkpoint_record

CPU = torch.device("cpu")
STEPS, BATCH, N_VAL, SEEDS = 200, 64, 1000, 4
FILE = Path(os.environ.get("GLOW_TEST_DATA", "absent")) / "FashionMNIST" / "raw" / "train-images-idx3-ubyte.gz"
MODES: dict[str, Execution | None] = {
    "plain layers": None,
    "stored": Execution(),
    "checkpointed": Execution("checkpointed"),
    "reversible": Execution("reversible"),
    "bfloat16": Execution(precision="bfloat16"),
    "reversible, bfloat16": Execution("reversible", "bfloat16"),
}


def trained(tables: tuple[ImageTable, ImageTable], execution: Execution | None, seed: int) -> float:
    """Bits/dim on validation images after 200 steps."""
    model = Glow((1, 32, 32), K=4, L=3, hidden_channels=32, generator=generator(seed, "weights"))
    model.execution = execution
    history = Trainer(
        model,
        Batches(tables[0], BATCH, CPU),
        Batches(tables[1], N_VAL, CPU),
        TrainParameters(n_epochs=1, lr=5e-4, warmup=1.0),
        checkpoint_record(),
        seed=seed,
    ).fit()
    assert (history.steps, history.skipped_steps) == (STEPS, 0)
    return history.best_val_bits_per_dim


@pytest.mark.slow
@pytest.mark.skipif(not FILE.is_file(), reason="GLOW_TEST_DATA names no folder with FashionMNIST/raw")
def test_modes_learn_the_same_bits_per_dim(make_table: MakeTable) -> None:
    n = STEPS * BATCH + N_VAL
    pixels = np.frombuffer(gzip.decompress(FILE.read_bytes()), np.uint8, count=n * 28 * 28, offset=16)
    table = make_table(F.pad(torch.from_numpy(pixels.reshape(n, 1, 28, 28).copy()), (2, 2, 2, 2)), 8)
    tables = table.subset(np.arange(STEPS * BATCH)), table.subset(np.arange(STEPS * BATCH, n))
    bits = {mode: [trained(tables, MODES[mode], seed) for seed in range(SEEDS)] for mode in MODES}
    # Two runs that differ in rounding alone, seed by seed: the noise of the comparison.
    noise = statistics.stdev(a - b for a, b in zip(bits["plain layers"], bits["stored"], strict=True))
    print(f"\nbits/dim after {STEPS} steps of {BATCH}, seeds 0 to {SEEDS - 1}; noise {noise:.3f}")  # noqa: T201
    for mode, values in bits.items():
        difference = statistics.mean(values) - statistics.mean(bits["plain layers"])
        print(f"{mode:22} {' '.join(f'{value:.3f}' for value in values)}  mean - plain {difference:+.3f}")  # noqa: T201
        assert abs(difference) < 3 * max(noise, 0.02)

"""Time to write and to read a checkpoint, and the rest of a resume.

    python benchmarks/checkpoints.py [--K 32] [--L 3] [--hidden-channels 512] [--folder .]

Writes and reads checkpoints of a model for 3x32x32 images with its optimizer, average and best weights, in a temporary
folder below `--folder`, since disks differ. Prints a Markdown table of seconds and their share of the default interval.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from glow_pipeline.flow import Glow
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import TableRecord
from glow_pipeline.parameters import TrainParameters
from glow_pipeline.parameters.interval import Interval
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.checkpoint import Checkpoint, read_checkpoint
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.history import History
from glow_pipeline.training.records import CheckpointRecord, Computation
from glow_pipeline.training.state import TrainingState
from glow_pipeline.training.step import TrainingStep
from glow_pipeline.training.step_metrics import StepMetrics
from glow_pipeline.training.weight_averaging import Average

CPU = torch.device("cpu")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--K", type=int, default=32)
    parser.add_argument("--L", type=int, default=3)
    parser.add_argument("--hidden-channels", type=int, default=512)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    model = Glow((3, 32, 32), arguments.K, arguments.L, arguments.hidden_channels)
    optimizer = Adamax(model.parameters(), lr=1e-3)
    step = TrainingStep(model, optimizer, 0.0, 10, average=Average(optimizer.vector, 0.999))
    history = History()
    state = TrainingState(step, history, StepMetrics(history, 10, 400, CPU), {})
    state.best_weights = state.copied_weights()
    seconds: dict[str, list[float]] = {"write": [], "read": [], "rest of a resume": []}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = TrainingFolder(Path(temporary))
        for run in range(arguments.runs):
            history.steps = run
            seconds["write"].append(timed(lambda: folder.write(state.checkpoint(record()), keep=1)))
            (path,) = folder.checkpoints
            read: list[Checkpoint] = []
            seconds["read"].append(timed(lambda: read.append(read_checkpoint(path, check=False))))  # noqa: B023
            # A resumed command checks the file before it starts, and copies the tensors.
            seconds["rest of a resume"].append(
                timed(lambda: (folder.newest(with_tensors=False), state.restore(read[0])))  # noqa: B023
            )
            size = path.stat().st_size
    interval = 60 * Interval.parse(TrainParameters.model_fields["checkpoint_every"].default).every
    print(f"| {optimizer.vector.numel():,} parameters, {size / 2**20:,.0f} MiB | seconds | of {interval:.0f} s |")  # noqa: T201
    print("|---|---|---|")  # noqa: T201
    for name, each in seconds.items():
        median = statistics.median(each)
        print(f"| {name} | {median:.2f} | {median / interval:.2%} |")  # noqa: T201


def record() -> CheckpointRecord:
    """Return the record of a training."""
    image_format = ImageFormat(channels=3, height=32, width=32, n_bits=8, fit="resize")
    table = TableRecord(
        image_selection=ImageSelection.of("cifar10"),
        split="train",
        image_format=image_format,
        count=50_000,
        num_classes=10,
        source_files={},
        on_unreadable="stop",
        made_with={},
    )
    computation = Computation(device="cpu", threads=1, activations="stored", compile=False, accumulate=1)
    return CheckpointRecord(
        identity={}, train_table=table, num_classes=10, computation=computation, provenance=Provenance()
    )


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

"""How long a device has nothing to do in a training, and what the host does then. `python benchmarks/gpu.py idle`.

A training of random images by the real trainer, with MLflow in a temporary folder, measured from its first step on.
What its steps take back to back, and its validations, is measured afterwards by the same code; the rest of the training
is idle. The host's milliseconds say what for: those of queuing count only if the device runs out of work meanwhile.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.images.batches import Batch
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.images.table_files import IMAGES, LABELS, RECORD
from glow_pipeline.parameters import Parameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.randomness import generator
from glow_pipeline.tracking.runs import RunAddress
from glow_pipeline.training import train as train_module
from glow_pipeline.training.history import History
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.task import TrainingTask
from glow_pipeline.training.trainer import Trainer

SIZE = 32
PARTS = {  # of the host's work at an epoch's end -> the trainer's method
    "queue_validation": "queued_validation",
    "wait_for_steps": "read_metrics",
    "report": "add_epoch",
    "checkpoints": "save_checkpoint",
    "shuffle": "remaining_batches",
}

Result = TypeVar("Result")


class Moment:
    """A moment on the device: when it has done all that was queued so far."""

    def __init__(self) -> None:
        self._event: torch.cuda.Event | None = None
        if torch.cuda.is_available():
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record()
        self._seconds = time.perf_counter()

    def milliseconds_to(self, later: "Moment") -> float:
        if self._event is None or later._event is None:
            return 1e3 * (later._seconds - self._seconds)
        return self._event.elapsed_time(later._event)


class TimedTrainer(Trainer):
    """A trainer that measures itself.

    Attributes:
        host_s: seconds of the host, by what they were for.
        ends, starts: the moments when an epoch's steps were done, and when the next epoch began.
        seconds: of all epochs, without compilation and initialization.
    """

    last: "TimedTrainer"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        TimedTrainer.last = self
        self.host_s: dict[str, float] = defaultdict(float)
        self.ends: list[Moment] = []
        self.starts: list[Moment] = []
        for name, method in PARTS.items():
            setattr(self, method, self.timed(name, getattr(self, method)))
        for owner, method, name in (
            (self.invertibility, "queue", "queue_invertibility"),
            (self.reporter, "epoch", "report_epoch"),
            (self.reporter, "samples", "report_samples"),
        ):
            setattr(owner, method, self.timed(name, getattr(owner, method)))

    def timed(self, name: str, function: Callable[..., Result]) -> Callable[..., Result]:
        """Return a function that adds its duration to `host_s`, and that of a function that it returns."""

        def measured(*arguments: Any, **options: Any) -> Result:
            started = time.perf_counter()
            result = function(*arguments, **options)
            self.host_s[name] += time.perf_counter() - started
            if name.startswith("queue_"):
                waits = cast(Callable[[], object], result)
                return cast(Result, self.timed(name.replace("queue_", "wait_for_"), waits))
            return result

        return measured

    def start(self) -> None:
        super().start()
        synchronize()
        self.host_s.clear()
        self.started = time.perf_counter()

    def fit(self) -> History:
        history = super().fit()
        synchronize()
        self.seconds = time.perf_counter() - self.started
        return history

    def evaluate_epoch(self) -> None:
        self.ends.append(Moment())
        super().evaluate_epoch()

    def inputs(self, batch: Batch, number: int) -> tuple[Tensor, ...]:
        if len(self.starts) < len(self.ends):
            self.starts.append(Moment())
        return super().inputs(batch, number)

    def steps_s(self) -> tuple[float, float]:
        """Return the seconds of an epoch's steps, without anything else, and those until the host has launched them."""
        self.metrics.start_epoch()
        started = time.perf_counter()
        for number, batch in enumerate(self.train_batches.shuffled(generator(0, "shuffle", 1))):
            self.metrics.add(self.step(*self.inputs(batch, number)), self.optimizer.gradient_norm)
        launched = time.perf_counter() - started
        synchronize()
        return time.perf_counter() - started, launched

    def validation_s(self) -> float:
        """Return the seconds of one validation."""
        started = time.perf_counter()
        Trainer.queued_validation(self)()
        return time.perf_counter() - started


def synchronize() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def random_images(folder: Path, n: int, seed: int) -> ImageTable:
    """Write a table of random images."""
    image_format = ImageFormat(channels=3, height=SIZE, width=SIZE, n_bits=8, fit="resize")
    record = TableRecord(
        image_selection=ImageSelection.of("cifar10"),
        split="train",
        image_format=image_format,
        count=n,
        num_classes=10,
        source_files={},
        on_unreadable="stop",
        made_with={},
    )
    folder.mkdir()
    random = np.random.default_rng(seed)
    np.save(folder / IMAGES, random.integers(0, 256, (n, *image_format.shape), dtype=np.uint8))
    np.save(folder / LABELS, np.zeros(n, dtype=np.int64))
    (folder / RECORD).write_text(record.model_dump_json(), encoding="utf-8")
    return ImageTable(folder)


def new_run(folder: Path) -> RunAddress | None:
    """Return a run of MLflow in a database of its own; None if MLflow is not installed."""
    try:
        import mlflow
    except ModuleNotFoundError:
        return None
    address = f"sqlite:///{folder}/mlflow.db"
    client = mlflow.MlflowClient(address)
    experiment = client.create_experiment("idle", artifact_location=(folder / "artifacts").as_uri())
    return RunAddress(address, client.create_run(experiment).info.run_id)


def measured_training(
    device: str, parameters: dict[str, dict[str, object]], n_train: int, n_val: int
) -> list[dict[str, object]]:
    """Train, and return rows of results.

    Args:
        device: device that trains.
        parameters: of the model and the training, by group.
        n_train, n_val: number of images.
    """
    with tempfile.TemporaryDirectory() as temporary, patch.object(train_module, "Trainer", TimedTrainer):
        folder = Path(temporary)
        task = TrainingTask(
            random_images(folder / "train", n_train, 0),
            random_images(folder / "val", n_val, 1),
            Parameters.model_validate({"device": device, **parameters}),
            Provenance(),
            folder / "checkpoints",
            mlflow_run=new_run(folder),
            prints_summary=False,
            seen_before=None,  # the random images have no content hashes
        )
        flow = untrained_flow(task.parameters, task.fit_images.record.image_format, 10)
        train_module.train(task, flow)
        trainer = TimedTrainer.last
        epochs, host_s = len(trainer.ends), dict(trainer.host_s)
        between = [end.milliseconds_to(start) for end, start in zip(trainer.ends[:-1], trainer.starts, strict=True)]
        steps_s, launched_s = min(trainer.steps_s() for _ in range(3))
        validation_s = min(trainer.validation_s() for _ in range(3))
    title = f"{epochs} epochs of {n_train} images" + ("" if task.mlflow_run else ", without MLflow")
    return [
        {
            "idle": title,
            "whole_s": trainer.seconds,
            "steps_s": epochs * steps_s,
            "validations_s": epochs * validation_s,
            "idle_percent": 100 * (1 - epochs * (steps_s + validation_s) / trainer.seconds),
            "step_ms": 1e3 * steps_s / len(trainer.train_batches),
            "launched_in_ms": 1e3 * launched_s / len(trainer.train_batches),
        },
        {
            "between_epochs": "ms from the last step to the next one, on the device",
            "a_validation_takes": round(1e3 * validation_s, 2),
            "each": [round(ms, 2) for ms in between],
        },
        {"host_ms_an_epoch": title, **{name: 1e3 * seconds / epochs for name, seconds in sorted(host_s.items())}},
    ]

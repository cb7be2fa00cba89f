"""Small trainings, and losses that are not finite at chosen steps."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import TrainParameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.randomness import generator
from glow_pipeline.training import step as step_module
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.adaptive_threads import TrainingThreads
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.checkpoint_folder import CheckpointSchedule
from glow_pipeline.training.distributed.process_group import ProcessGroup
from glow_pipeline.training.history import History, Metrics
from glow_pipeline.training.records import CheckpointRecord, Computation
from glow_pipeline.training.state import Weights
from glow_pipeline.training.trainer import Trainer
from tests.conftest import model_record, random_images

CPU = torch.device("cpu")
N_FIT, N_VAL, BATCH = 40, 10, 8
STEPS = N_FIT // BATCH  # an epoch

Tables = tuple[ImageTable, ImageTable]


def new_glow(**arguments: object) -> Glow:
    given: dict[str, object] = {"image_shape": (1, 8, 8), "K": 1, "L": 2, "hidden_channels": 4, "n_bits": 4}
    return Glow(**{**given, **arguments}, generator=generator(0, "weights"))  # type: ignore[arg-type]


def checkpoint_record(steps: int = 0, epochs: int = 0, **changed: Any) -> CheckpointRecord:
    """Return the record of a checkpoint at this step, after so many epochs."""
    given: dict[str, Any] = {
        "identity": {"seed": 0},
        "train_table": model_record().train_table,
        "num_classes": 3,
        "computation": Computation(
            device="cpu (1 thread)", threads=1, activations="stored", compile="auto", accumulate=1
        ),
        "provenance": Provenance(),
        "history": History([{"epoch": number + 1} for number in range(epochs)], steps=steps),
    }
    return CheckpointRecord(**{**given, **changed})


def checkpoint(step: int, value: float = 0.0) -> Checkpoint:
    """Return a checkpoint at this step, with a weight of this value."""
    return Checkpoint({"weight": torch.full((3,), value)}, checkpoint_record(step))


@dataclass
class Run:
    """A training and everything that it reported."""

    model: Glow
    history: History = field(default_factory=History)
    epochs: list[tuple[Metrics, int]] = field(default_factory=list)
    after_epoch: list[dict[str, Tensor]] = field(default_factory=list)
    saved: list[tuple[Weights, int]] = field(default_factory=list)


class RecordingReporter:
    """Keeps everything that a training reports, with its weights at that moment.

    Attributes:
        trainer: of the training.
    """

    trainer: Trainer

    def __init__(self, run: Run) -> None:
        self._run = run

    def epoch(self, metrics: Metrics, step: int) -> bool:
        self._run.epochs.append((metrics, step))
        self._run.after_epoch.append(copy.deepcopy(self._run.model.state_dict()))
        return False

    def samples(self, _flow: Glow, epoch: int) -> None:
        self._run.saved.append((copy.deepcopy(self.trainer.state.best_weights), epoch))


class ScriptedTrainer(Trainer):
    """A training whose bits per dimension of the validation images are given.

    Attributes:
        values: for each epoch.
    """

    values: Iterator[float]

    def queued_validation(self) -> Callable[[], float]:
        return lambda: next(self.values)


def new_trainer(
    tables: Tables,
    model: Glow,
    *,
    batch_size: int = BATCH,
    num_workers: int = 0,
    device: torch.device = CPU,
    group: ProcessGroup | None = None,
    kind: type[Trainer] = Trainer,
    settings: dict[str, object] | None = None,
    **parts: Any,
) -> Trainer:
    """Return the trainer of a short training.

    Args:
        tables: of training and validation images.
        model: to train.
        batch_size: images a step.
        num_workers: processes that read ahead.
        device: device of the batches.
        group: of this process.
        kind: of trainer.
        settings: parameters of training.
        parts: other parts of the trainer.
    """
    shard = None if group is None else group.shard
    parameters = {"n_epochs": 3, "lr": 0.01, "warmup": 0.0, **(settings or {})}
    return kind(
        model,
        Batches(tables[0], batch_size, device, num_workers, drop_last=True, shard=shard),
        Batches(tables[1], N_VAL, device),
        TrainParameters.model_validate(parameters),
        checkpoint_record(),
        group=group,
        **{"seed": 0, **parts},
    )


def train(
    tables: Tables,
    model: Glow | None = None,
    seed: int = 0,
    y_weight: float = 0.0,
    *,
    checkpoints: CheckpointSchedule | None = None,
    start: Checkpoint | None = None,
    threads: TrainingThreads | None = None,
    num_workers: int = 0,
    validation: Iterator[float] | None = None,
    **settings: object,
) -> Run:
    """Train; return everything that was reported.

    Args:
        validation: bits per dimension of the validation images in place of the model's.
    """
    run = Run(model or new_glow())
    reporter = RecordingReporter(run)
    trainer = reporter.trainer = new_trainer(
        tables,
        run.model,
        num_workers=num_workers,
        kind=Trainer if validation is None else ScriptedTrainer,
        settings=settings,
        seed=seed,
        y_weight=y_weight,
        checkpoints=checkpoints,
        start=start,
        threads=threads,
        reporter=reporter,
    )
    if isinstance(trainer, ScriptedTrainer) and validation is not None:
        trainer.values = validation
    run.history = trainer.fit()
    return run


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def finite(weights: Weights) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


def moments(optimizer: Adamax) -> dict[str, Tensor]:
    """Return a copy of the optimizer's state."""
    return {name: getattr(optimizer, name).clone() for name in ("vector", "first_moment", "infinity_norm", "steps")}


class Inputs(NamedTuple):
    """Inputs of a training step, and the images and noise that they are made of."""

    x: Tensor
    logdet: Tensor
    images: Tensor
    noise: Tensor
    labels: Tensor


def inputs_of(model: Glow, seed: int = 0, n: int = 6) -> Inputs:
    images = random_images(n, seed=seed) >> 4
    noise = torch.rand(images.shape, generator=generator(seed, "noise"))
    return Inputs(*model.dequantization.forward(images, noise), images, noise, torch.arange(n) % 3)


@dataclass
class Poison:
    """A replacement of `losses`, by which the loss, or only its gradient, is not finite at some steps."""

    steps: set[int]
    kind: str = "both"
    before_step: list[dict[str, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.original = step_module.losses

    def __call__(
        self, model: Glow, x: Tensor, dequantization_logdet: Tensor, labels: Tensor | None, y_weight: float
    ) -> tuple[Tensor, Tensor]:
        step = len(self.before_step)
        self.before_step.append(copy.deepcopy(model.state_dict()))
        loss, bits = self.original(model, x, dequantization_logdet, labels, y_weight)
        if step not in self.steps:
            return loss, bits
        if self.kind == "both":
            return loss * math.nan, bits * math.nan
        if self.kind == "loss":
            return loss + math.inf, bits + math.inf
        worth = {"gradient": math.nan, "infinite": math.inf}[self.kind]
        loss.register_hook(lambda gradient: gradient * worth)
        return loss, bits

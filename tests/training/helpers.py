"""Small trainings, and losses that go wrong at chosen steps."""

import copy
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import TrainParameters
from glow_pipeline.randomness import generator
from glow_pipeline.training import step as step_module
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.adaptive import TrainingThreads
from glow_pipeline.training.checkpoint import Checkpoint, CheckpointSchedule
from glow_pipeline.training.fit import fit
from glow_pipeline.training.history import History
from glow_pipeline.training.state import Weights
from tests.conftest import random_images

CPU = torch.device("cpu")
N_FIT, N_VAL, BATCH = 40, 10, 8
STEPS = N_FIT // BATCH  # an epoch

Tables = tuple[ImageTable, ImageTable]


def new_glow(**arguments: object) -> Glow:
    given: dict[str, object] = {"image_shape": (1, 8, 8), "K": 1, "L": 2, "hidden_channels": 4, "n_bits": 4}
    return Glow(**{**given, **arguments}, generator=generator(0, "weights"))  # type: ignore[arg-type]


@dataclass
class Run:
    """A training and all that it told on its way."""

    model: Glow
    history: History = field(default_factory=History)
    epochs: list[tuple[dict[str, float], int]] = field(default_factory=list)
    after_epoch: list[dict[str, Tensor]] = field(default_factory=list)
    saved: list[tuple[Weights, int]] = field(default_factory=list)


def train(
    tables: Tables,
    model: Glow | None = None,
    seed: int = 0,
    y_weight: float = 0.0,
    *,
    keeper: CheckpointSchedule | None = None,
    start: Checkpoint | None = None,
    threads: TrainingThreads | None = None,
    num_workers: int = 0,
    **settings: float | str,
) -> Run:
    run = Run(model or new_glow())

    def on_epoch(metrics: dict[str, float], step: int) -> None:
        run.epochs.append((metrics, step))
        run.after_epoch.append(copy.deepcopy(run.model.state_dict()))

    def on_save(weights: Weights, history: History) -> None:
        run.saved.append((copy.deepcopy(weights), len(history.epochs)))

    run.history = fit(
        run.model,
        Batches(tables[0], BATCH, CPU, num_workers, drop_last=True),
        Batches(tables[1], N_VAL, CPU),
        TrainParameters.model_validate({"n_epochs": 3, "lr": 0.01, "warmup": 0.0, **settings}),
        seed=seed,
        y_weight=y_weight,
        keeper=keeper,
        start=start,
        threads=threads,
        on_epoch=on_epoch,
        on_save=on_save,
    )
    return run


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def finite(weights: Weights) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


def moments(optimizer: Adamax) -> dict[str, Tensor]:
    """A copy of all that the optimiser holds."""
    return {name: getattr(optimizer, name).clone() for name in ("vector", "first_moment", "infinity_norm", "steps")}


class Inputs(NamedTuple):
    """Of a training step, and the images and noise that they are made of."""

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
    """Stands in for `losses`; at some of its calls the loss, or only its gradient, is not finite."""

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

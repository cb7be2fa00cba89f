"""Training steps of a small flow, and their inputs."""

from typing import NoReturn

from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Activations
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.distributed.process_group import ProcessGroup
from glow_pipeline.training.step import TrainingStep
from tests.conftest import jittered_glow
from tests.training.helpers import inputs_of

ACTIVATIONS: tuple[Activations, ...] = ("stored", "checkpointed", "reversible")
LOGGER = "glow_pipeline.training.acceleration"


def new_step(model: Glow) -> TrainingStep:
    return TrainingStep(model, Adamax(model.parameters(), lr=0.01), 0.0, 3)


def batch(model: Glow, seed: int) -> tuple[Tensor, ...]:
    return tuple(tensor.to(next(model.parameters()).device) for tensor in inputs_of(model, seed)[:2])


def refuse() -> NoReturn:
    raise AssertionError("an example was requested")


def step_of(group: ProcessGroup) -> TrainingStep:
    model = jittered_glow(K=2)
    return TrainingStep(model, Adamax(model.parameters(), lr=0.01), 0.0, 3, accumulate=2, batch_size=6, group=group)


def shard_of(group: ProcessGroup, step: TrainingStep, seed: int) -> tuple[Tensor, ...]:
    return tuple(tensor[group.shard.rows(6)] for tensor in batch(step.model, seed))

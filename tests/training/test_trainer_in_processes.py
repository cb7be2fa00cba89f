"""A training in several processes is that of one, but for rounding."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.images.batches import Batch
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.distributed.process_group import ProcessGroup, SingleProcess
from glow_pipeline.training.step import TrainingStep
from glow_pipeline.training.trainer import Trainer
from tests.conftest import jittered_glow
from tests.training.helpers import Tables, inputs_of, new_glow, new_trainer, same
from tests.training.several_processes import together

BATCH = 7  # of 40 images: 5 steps an epoch, and no two processes' shards are alike


class SeenTrainer(Trainer):
    """A training that keeps the inputs of its steps, and whether it initialized the flow."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.seen: list[tuple[Tensor, ...]] = []
        self.initialized_here = False

    def inputs(self, batch: Batch, number: int) -> tuple[Tensor, ...]:
        self.seen.append(super().inputs(batch, number))
        return self.seen[-1]

    def restore_or_initialize(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            initialize = self.flow.initialize

            def seen(x: Tensor) -> None:
                self.initialized_here = True
                initialize(x)

            patch.setattr(self.flow, "initialize", seen)
            super().restore_or_initialize()


@dataclass
class Seen:
    """The inputs and results of one process."""

    weights: dict[str, Tensor]
    bits_per_dim: float
    initialized: bool
    inputs: list[tuple[Tensor, ...]]


def train(
    tables: Tables,
    group: ProcessGroup,
    *,
    y_condition: bool = False,
    activations: Activations = "stored",
    **settings: object,
) -> Seen:
    """Train two epochs, in one of several processes or alone."""
    model = new_glow(**({"y_condition": True, "num_classes": 3} if y_condition else {}))
    model.execution = Execution(activations)
    trainer = new_trainer(
        tables,
        model,
        batch_size=BATCH,
        group=group,
        kind=SeenTrainer,
        settings={"n_epochs": 2, "flip": True, "mutation": 0.2, **settings},
        y_weight=0.1 if y_condition else 0.0,
    )
    assert isinstance(trainer, SeenTrainer)
    history = trainer.fit()
    return Seen(dict(model.state_dict()), history.best_val_bits_per_dim, trainer.initialized_here, trainer.seen)


CASES: dict[str, dict[str, object]] = {
    "plain": {},
    "in parts": {"accumulate": 2},
    "reversible": {"activations": "reversible"},
    "averaged": {"ema": 0.9},
    "clipped": {"max_grad_norm": 1.0, "max_grad_clip": 0.1},
    "of classes": {"y_condition": True},
}


@pytest.mark.parametrize(("case", "n"), [*((case, 2) for case in CASES), ("plain", 3)])
def test_processes_see_and_learn_the_same(tables: Tables, case: str, n: int) -> None:
    alone = train(tables, SingleProcess(), **CASES[case])  # type: ignore[arg-type]
    processes = together(n, lambda group: train(tables, group, **CASES[case]))  # type: ignore[arg-type]

    # Image, noise, mirroring and class: bit for bit, and each image once.
    assert len(alone.inputs) == 10
    for number, complete in enumerate(alone.inputs):
        parts = [torch.cat(tensors) for tensors in zip(*(each.inputs[number] for each in processes), strict=True)]
        assert all(torch.equal(part, tensor) for part, tensor in zip(parts, complete, strict=True))
        assert len({len(each.inputs[number][0]) for each in processes}) == 2

    assert [each.initialized for each in processes] == [True] + [False] * (n - 1)
    assert all(same(each.weights, processes[0].weights) for each in processes)
    for name, tensor in alone.weights.items():
        torch.testing.assert_close(processes[0].weights[name], tensor, rtol=1e-5, atol=1e-6)
    for each in processes:
        assert each.bits_per_dim == pytest.approx(alone.bits_per_dim, abs=1e-5)


def test_double_precision_steps_equal_one_process() -> None:
    """So that what differs in single precision is rounding, and nothing else."""

    def steps(group: ProcessGroup) -> Tensor:
        model = jittered_glow().double()
        optimizer = Adamax(model.parameters(), lr=0.01)
        step = TrainingStep(model, optimizer, 0.0, 3, batch_size=BATCH, group=group)
        for number in range(10):
            x, logdet, *_ = inputs_of(model, seed=number, n=BATCH)
            rows = group.shard.rows(BATCH)
            step(x[rows].double(), logdet[rows].double())
        return optimizer.vector

    alone = steps(SingleProcess())
    for vector in together(3, steps):
        torch.testing.assert_close(vector, alone, rtol=1e-9, atol=1e-11)

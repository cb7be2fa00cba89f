"""A training in several processes is that of one, but for rounding."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.distributed as dist
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

COLLECTIVES = ("all_", "barrier", "broadcast", "gather", "irecv", "isend", "recv", "reduce", "scatter", "send")
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
    "epochs within passes": {"epoch_images": 2 * BATCH, "n_epochs": 5},
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


@pytest.mark.parametrize("n", [2, 3])
def test_gradients_of_processes_sum_to_that_of_one(n: int) -> None:
    """With loss and bits per dimension, which are beside them in the same vector."""

    def gradient(group: ProcessGroup) -> tuple[Tensor, Tensor]:
        model = jittered_glow().double()
        step = TrainingStep(model, Adamax(model.parameters(), lr=0.01), 0.0, 3, batch_size=BATCH, group=group)
        x, logdet, *_ = inputs_of(model, n=BATCH)
        rows = group.shard.rows(BATCH)
        step.compute_gradients(x[rows].double(), logdet[rows].double())
        own = step.optimizer.gradient_and_figures.clone()
        step.sum_over_processes()
        return own, step.optimizer.gradient_and_figures

    _, alone = gradient(SingleProcess())
    own, summed = zip(*together(n, gradient), strict=True)
    for vector in summed:
        assert torch.equal(vector, summed[0])
        torch.testing.assert_close(vector, alone, rtol=1e-12, atol=1e-14)
    assert all((vector - alone).norm() > 0.1 * alone.norm() for vector in own), "each has a part of it alone"


def test_three_processes_repeat_their_bits(tables: Tables) -> None:
    first, second = (together(3, lambda group: train(tables, group)) for _ in range(2))
    assert same(first[0].weights, second[0].weights)
    assert [each.bits_per_dim for each in first] == [each.bits_per_dim for each in second]


def every_collective(patch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return the list to which each later collective operation adds its name and the size of its tensor."""
    seen: list[tuple[str, int]] = []

    def watch(name: str) -> None:
        operation = getattr(dist, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            seen.append((name, next((given.numel() for given in arguments if isinstance(given, Tensor)), 0)))
            return operation(*arguments, **named)

        patch.setattr(dist, name, watched)

    for name in vars(dist.distributed_c10d)["__all__"]:
        if name.startswith(COLLECTIVES) and callable(getattr(dist, name)):
            watch(name)
    return seen


def test_steps_have_one_collective_beside_the_flag(tables: Tables) -> None:
    """The vector, on the device; and whether to stop, on the CPU, which waits for no device."""

    seen: list[tuple[str, int]] = []

    class WatchedTrainer(Trainer):
        def train_epoch(self) -> None:
            with pytest.MonkeyPatch.context() as patch:
                of_epoch = every_collective(patch)
                super().train_epoch()
            seen.extend(of_epoch)

    def communicated(group: ProcessGroup) -> list[tuple[str, int]]:
        given: dict[str, object] = {"n_epochs": 1}
        new_trainer(tables, new_glow(), batch_size=BATCH, group=group, kind=WatchedTrainer, settings=given).fit()
        return seen

    n_parameters = sum(parameter.numel() for parameter in new_glow().parameters())
    for found in together(2, communicated):
        assert found == [("all_reduce", n_parameters + 2), ("all_reduce", 1)] * 5


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

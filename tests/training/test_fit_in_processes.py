"""A training in several processes is that of one, but for rounding."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.images.batches import Batches
from glow_pipeline.parameters import TrainParameters
from glow_pipeline.training import fit as fit_module
from glow_pipeline.training import inputs as inputs_module
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.distributed.process_group import ProcessGroup, SingleProcess
from glow_pipeline.training.fit import fit
from glow_pipeline.training.step import TrainingStep
from tests.conftest import jittered_glow
from tests.training.helpers import CPU, Tables, inputs_of, new_glow, same
from tests.training.several_processes import together

BATCH = 7  # of 40 images: 5 steps an epoch, and no two processes' shares are alike


@dataclass
class Seen:
    """What one process saw and made."""

    weights: dict[str, Tensor]
    bits_per_dim: list[float]
    initialized: int = 0
    inputs: list[tuple[Tensor, ...]] = field(default_factory=list)


def train(
    tables: Tables,
    group: ProcessGroup,
    *,
    y_condition: bool = False,
    activations: Activations = "stored",
    **settings: object,
) -> Seen:
    """Two epochs; in a forked process, whose modules are its own, or alone."""
    model = new_glow(**({"y_condition": True, "num_classes": 3} if y_condition else {}))
    model.execution = Execution(activations)
    seen, made, begun = Seen({}, []), inputs_module.inputs_of, inputs_module.initialize

    def inputs_seen(*arguments: object, **named: object) -> tuple[Tensor, ...]:
        seen.inputs.append(made(*arguments, **named))  # type: ignore[arg-type]
        return seen.inputs[-1]

    def initialized(*arguments: object) -> None:
        seen.initialized += 1
        begun(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "inputs_of", inputs_seen)
        patch.setattr(fit_module, "initialize", initialized)
        history = fit(
            model,
            Batches(tables[0], BATCH, CPU, drop_last=True, share=group.share),
            Batches(tables[1], 4, CPU),
            TrainParameters.model_validate(
                {"n_epochs": 2, "lr": 0.01, "warmup": 0.0, "flip": True, "early_stopping": 0, **settings}
            ),
            seed=0,
            y_weight=0.1 if y_condition else 0.0,
            group=group,
            on_epoch=lambda *_: None,
            on_save=lambda *_: None,
        )
    seen.weights = dict(model.state_dict())
    seen.bits_per_dim = [history.best_val_bits_per_dim]
    return seen


CASES: dict[str, dict[str, object]] = {
    "plain": {},
    "in parts": {"accumulate": 2},
    "reversible": {"activations": "reversible"},
    "averaged": {"ema": 0.9},
    "clipped": {"max_grad_norm": 1.0, "max_grad_clip": 0.1},
    "of classes": {"y_condition": True},
}


@pytest.mark.parametrize(("case", "n"), [*((case, 2) for case in CASES), ("plain", 3)])
def test_it_sees_the_same_and_learns_the_same(tables: Tables, case: str, n: int) -> None:
    alone = train(tables, SingleProcess(), **CASES[case])  # type: ignore[arg-type]
    shares = together(n, lambda group: train(tables, group, **CASES[case]))  # type: ignore[arg-type]

    # Image, noise, mirroring and class: bit for bit, and each image once.
    assert len(alone.inputs) == 10
    for number, whole in enumerate(alone.inputs):
        parts = [torch.cat(tensors) for tensors in zip(*(share.inputs[number] for share in shares), strict=True)]
        assert all(torch.equal(part, tensor) for part, tensor in zip(parts, whole, strict=True))
        assert len({len(share.inputs[number][0]) for share in shares}) == 2

    assert [share.initialized for share in shares] == [1] + [0] * (n - 1)
    assert all(same(share.weights, shares[0].weights) for share in shares)
    for name, tensor in alone.weights.items():
        torch.testing.assert_close(shares[0].weights[name], tensor, rtol=1e-5, atol=1e-6)
    for share in shares:
        assert share.bits_per_dim == pytest.approx(alone.bits_per_dim, abs=1e-5)


def test_in_double_precision_ten_steps_are_those_of_one_process() -> None:
    """So that what differs in single precision is rounding, and nothing else."""

    def steps(group: ProcessGroup) -> Tensor:
        model = jittered_glow().double()
        optimizer = Adamax(model.parameters(), lr=0.01)
        step = TrainingStep(model, optimizer, 0.0, 3, batch_size=BATCH, group=group)
        for number in range(10):
            x, logdet, *_ = inputs_of(model, seed=number, n=BATCH)
            rows = group.share.rows(BATCH)
            step(x[rows].double(), logdet[rows].double())
        return optimizer.vector

    alone = steps(SingleProcess())
    for vector in together(3, steps):
        torch.testing.assert_close(vector, alone, rtol=1e-9, atol=1e-11)

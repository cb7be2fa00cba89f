"""The kernels' training pass on a GPU: as exact as the product form, and the same bits each time."""

import copy

import pytest
import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Activations, Execution, Precision
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.captured_step import Captured
from glow_pipeline.training.step import TrainingStep

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

SHAPES = [((3, 32, 32), 3, 64), ((1, 28, 28), 2, 24)]


def flow(shape: tuple[int, int, int], L: int, hidden: int) -> Glow:
    torch.manual_seed(0)
    model = Glow(shape, 3, L, hidden, scale_floor=0.1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def gradients(model: Glow, x: Tensor, execution: Execution | None) -> Tensor:
    model.execution = execution
    model.zero_grad()
    x = x.clone().requires_grad_()
    model.log_density(model.to_top(x), None).sum().backward()
    parts = [x.grad, *(parameter.grad for parameter in model.parameters())]
    return torch.cat([part.double().flatten().cpu() for part in parts if part is not None])


@pytest.mark.parametrize(("shape", "L", "hidden"), SHAPES)
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("batch", [128, 37])
def test_gradients_are_as_exact_as_of_products(
    shape: tuple[int, int, int], L: int, hidden: int, precision: Precision, batch: int
) -> None:
    model = flow(shape, L, hidden)
    x = torch.rand(batch, *shape) - 0.5
    exact = gradients(copy.deepcopy(model).double(), x.double(), None)
    model.cuda()
    by_products = gradients(model, x.cuda(), Execution("stored", precision, products=True, kernels=False))
    by_kernels = gradients(model, x.cuda(), Execution("stored", precision, products=True))
    assert (by_kernels - exact).norm() < max(1.2 * (by_products - exact).norm(), 2e-6 * exact.norm())


@pytest.mark.parametrize("activations", ["stored", "checkpointed"])
def test_gradients_have_the_same_bits_each_time(activations: Activations) -> None:
    model = flow((3, 32, 32), 3, 64).cuda()
    x = torch.rand(37, 3, 32, 32).cuda() - 0.5
    execution = Execution(activations, "bfloat16", products=True)
    assert torch.equal(gradients(model, x, execution), gradients(model, x, execution))


def test_captured_step_has_the_bits_of_an_uncaptured_one() -> None:
    x = (torch.rand(32, 3, 32, 32, generator=torch.Generator().manual_seed(1)) - 0.5).cuda()
    logdet = torch.zeros(32, device="cuda")

    def losses(captured: bool) -> list[Tensor]:
        model = flow((3, 32, 32), 3, 64).cuda().to(memory_format=torch.channels_last)
        model.execution = Execution("stored", "bfloat16", products=True)
        step = TrainingStep(model, Adamax(model.parameters(), lr=1e-3), 0.0, 10)
        run = Captured(step, x, logdet) if captured else step
        return [run(x, logdet).clone() for _ in range(20)]

    uncaptured, captured = losses(False), losses(True)
    assert all(torch.equal(a, b) for a, b in zip(uncaptured, captured, strict=True))
    assert uncaptured[-1] < uncaptured[0]

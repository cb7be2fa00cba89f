"""The kernels' training pass has the gradients of the plain layers."""

from collections.abc import Sequence
from typing import cast

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Activations, Execution
from glow_pipeline.flow.fast.kernels import training, weight_gradients
from glow_pipeline.flow.fast.products.level import GROUP
from glow_pipeline.flow.level import Level
from glow_pipeline.flow.step import FlowStep
from tests.flow.helpers import gaussian, perturbed

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="Triton interprets kernels only where there is no GPU"
)

Result = dict[str, Tensor]


def level_of(
    channels: int = 3, size: int = 8, K: int = 2, hidden: int = 16, coupling: str = "affine", floor: float = 0.0
) -> Level:
    """In float64, every weight moved; of size / 2 times size / 2 pixels."""
    shape = (channels, size, size)
    model = perturbed(Glow(shape, K, 1, hidden, flow_coupling=coupling, scale_floor=floor), 0.1)
    return cast(Level, model.levels[0])


def gradients(level: Level, x: Tensor, execution: Execution | None) -> Result:
    """Return y, logdet and all gradients, by the kernels or without `execution` by the plain layers."""
    level.zero_grad()
    x = x.clone().requires_grad_()
    if execution is None:
        y, logdet = level(x)
    else:
        squeezed, _ = level.squeeze(x)
        y, logdet = training.run(cast(list[FlowStep], list(level.steps)), squeezed, execution)
    loss = (y * gaussian(*y.shape, seed=1)).sum() + (logdet * gaussian(len(x), seed=2)).sum()
    loss.backward()
    assert x.grad is not None
    named = {name: p.grad for name, p in level.named_parameters() if p.grad is not None}
    return {"y": y.detach(), "logdet": logdet.detach(), "x": x.grad, **named}


def assert_same(actual: Result, expected: Result, tolerance: float = 1e-9) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize(("coupling", "floor"), [("affine", 0.0), ("affine", 0.1), ("additive", 0.0)])
@pytest.mark.parametrize("K", [1, 3])
def test_gradients_match_the_plain_layers(coupling: str, floor: float, K: int) -> None:
    level, x = level_of(K=K, coupling=coupling, floor=floor), gaussian(5, 3, 8, 8)
    assert_same(gradients(level, x, Execution()), gradients(level, x, None))


@pytest.mark.parametrize(
    ("channels", "size", "hidden", "batch"),
    [
        pytest.param(1, 28, 24, 1, id="an image of 196 pixels in 256 rows"),
        pytest.param(3, 32, 16, 1, id="an image in several pieces"),
        pytest.param(1, 8, 16, 37, id="one colour, and an odd batch"),
        pytest.param(12, 8, 128, 3, id="weights in several blocks"),
        pytest.param(2, 6, 20, 7, id="no size a power of two"),
    ],
)
def test_gradients_of_all_shapes_match(channels: int, size: int, hidden: int, batch: int) -> None:
    level, x = level_of(channels, size, 1, hidden), gaussian(batch, channels, size, size)
    assert_same(gradients(level, x, Execution()), gradients(level, x, None))


@pytest.mark.parametrize(("K", "activations"), [(GROUP + 1, "stored"), (2, "checkpointed")])
def test_steps_in_groups_have_the_same_gradients(K: int, activations: Activations) -> None:
    level, x = level_of(1, 4, K), gaussian(2, 1, 4, 4)
    assert_same(gradients(level, x, Execution(activations)), gradients(level, x, None))


@pytest.mark.parametrize("pieces", [1, 4, 1000])
def test_gradients_do_not_depend_on_pieces(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    level, x = level_of(), gaussian(9, 3, 8, 8)
    expected = gradients(level, x, Execution())
    monkeypatch.setattr(weight_gradients, "PIECES", pieces)
    assert_same(gradients(level, x, Execution()), expected, 1e-12)


def test_uninitialised_memory_never_reaches_a_result() -> None:
    level, x = level_of(), gaussian(5, 3, 8, 8)
    expected = gradients(level, x, Execution())
    torch.use_deterministic_algorithms(True)  # fills new memory with NaN
    try:
        filled = gradients(level, x, Execution())
    finally:
        torch.use_deterministic_algorithms(False)
    assert_same(filled, expected, 0.0)


def test_second_backward_gives_the_same_gradients() -> None:
    """The first one leaves alone what it was handed and what it kept."""
    level, x = level_of(), gaussian(5, 3, 8, 8)
    squeezed, _ = level.squeeze(x)
    squeezed.requires_grad_()
    y, logdet = training.run(cast(list[FlowStep], list(level.steps)), squeezed, Execution())
    inputs = [squeezed, *level.parameters()]
    grad_y = gaussian(*y.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
    first, second = (
        torch.autograd.grad((y, logdet), inputs, (grad_y, torch.ones_like(logdet)), retain_graph=True) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("activations", "by_kernels"), [("stored", True), ("checkpointed", True), ("reversible", False)]
)
def test_levels_of_a_flow_train_by_kernels(
    activations: Activations, by_kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where products were asked for, and where the kernels can: they have no reversible form."""
    calls: list[int] = []
    run = training.run

    def counted(steps: Sequence[FlowStep], x: Tensor, execution: Execution) -> tuple[Tensor, Tensor]:
        calls.append(len(steps))
        return run(steps, x, execution)

    monkeypatch.setattr(training, "run", counted)
    model, x = perturbed(Glow((1, 8, 8), 1, 2, 8), 0.1), gaussian(2, 1, 8, 8)
    for products in (False, True):
        model.execution = Execution(activations, products=products, kernels=True)
        model.log_density(model.to_top(x), None).sum().backward()
    assert len(calls) == (2 if by_kernels else 0)

"""Held to torch.optim.Adamax, to numpy and to figures by hand."""

import copy
import math
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glow_pipeline.training.adamax import Adamax, _joined
from tests.conftest import jittered_glow
from tests.training.helpers import moments, same

GO = torch.tensor(True)
STOP = torch.tensor(False)


def draw(shape: tuple[int, ...], random: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=random, dtype=dtype)


def some_parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    """Contiguous ones, one with its channels last, a transposed one and a scalar."""
    random = torch.Generator().manual_seed(1)
    values = [draw(shape, random, dtype) for shape in ((5,), (4, 3, 3, 2), (2, 3, 4, 4), (3, 7), ())]
    values[2] = values[2].contiguous(memory_format=torch.channels_last)
    values[3] = values[3].t()
    return [nn.Parameter(value) for value in values]


def give_gradients(parameters: list[nn.Parameter], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = draw(tuple(parameter.shape), random, parameter.dtype)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=str)
def test_updates_are_those_of_torch(dtype: torch.dtype, tolerance: float, weight_decay: float) -> None:
    ours, theirs = some_parameters(dtype), some_parameters(dtype)
    optimizer = Adamax(ours, lr=0.01, weight_decay=weight_decay)
    reference = torch.optim.Adamax(theirs, lr=0.01, weight_decay=weight_decay)
    for seed in range(100):
        give_gradients(ours, seed)
        give_gradients(theirs, seed)
        assert optimizer.step(GO)
        reference.step()
        for mine, expected in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, expected, rtol=tolerance, atol=tolerance)
    assert optimizer.steps == 100


def test_missing_gradient_counts_as_zero() -> None:
    ours, theirs = some_parameters(torch.float32), some_parameters(torch.float32)
    optimizer = Adamax(ours, lr=0.01)
    reference = torch.optim.Adamax(theirs, lr=0.01)
    for seed in range(20):
        give_gradients(ours, seed)
        give_gradients(theirs, seed)
        without = seed % len(ours)
        ours[without].grad, theirs[without].grad = None, torch.zeros_like(theirs[without])
        assert optimizer.step(GO)
        reference.step()
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-6)


def test_zero_grad_removes_the_gradients() -> None:
    parameters = some_parameters(torch.float32)
    optimizer = Adamax(parameters, lr=0.01)
    give_gradients(parameters, 0)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in parameters)


def test_gathered_gradients_are_added_as_by_autograd() -> None:
    ours, theirs = some_parameters(torch.float32), some_parameters(torch.float32)
    together, separate = Adamax(ours, lr=0.01), Adamax(theirs, lr=0.01)
    for seed in range(6):
        for part in range(3):
            without = ours[(seed + part) % len(ours)]
            give_gradients(ours, 3 * seed + part)
            for parameter, other in zip(ours, theirs, strict=True):
                if parameter is without:
                    parameter.grad = None
                elif other.grad is None:
                    other.grad = cast(Tensor, parameter.grad).clone()
                else:
                    other.grad += cast(Tensor, parameter.grad)
            together.gather_gradients()
            assert all(parameter.grad is None for parameter in ours)
        assert together.step(GO)
        assert separate.step(GO)
        assert same(moments(together), moments(separate))


@pytest.mark.parametrize("order", ["same", "transposed", "reversed"])
@pytest.mark.parametrize("missing", [None, 0, 1])
@pytest.mark.parametrize("parts", [1, 2])
def test_parts_of_one_tensor_are_gathered_unchanged(order: str, missing: int | None, parts: int) -> None:
    """Gradients that are adjacent in memory are copied as one, if they lie there as in the vector."""
    random = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(draw((3, 3), random)) for _ in range(4)]
    optimizer, total = Adamax(parameters, lr=0.01), torch.zeros(4, 3, 3)
    for _ in range(parts):
        given = draw((4, 3, 3), random)
        for k, parameter in enumerate(parameters):
            gradient = given[3 - k] if order == "reversed" else given[k]
            gradient = gradient.t() if order == "transposed" and k == 2 else gradient
            parameter.grad = None if k == missing else gradient
            if k != missing:
                total[k] += gradient
        optimizer.gather_gradients()
    assert torch.equal(optimizer._gradient, total.flatten())


def test_adjacent_gradients_are_copied_as_one() -> None:
    parameters = [nn.Parameter(torch.zeros(3, 2)) for _ in range(4)]
    optimizer = Adamax(parameters, lr=0.01)
    for parameter, gradient in zip(parameters, torch.randn(4, 3, 2), strict=True):
        parameter.grad = gradient
    views, gradients = _joined(optimizer._gradient_views, [cast(Tensor, parameter.grad) for parameter in parameters])
    assert [each.numel() for each in views] == [each.numel() for each in gradients] == [24]


def test_zero_grad_drops_gathered_gradients() -> None:
    gathered, fresh = some_parameters(torch.float32), some_parameters(torch.float32)
    optimizer, expected = Adamax(gathered, lr=0.01), Adamax(fresh, lr=0.01)
    give_gradients(gathered, 1)
    optimizer.gather_gradients()
    optimizer.zero_grad()
    for parameters, each in ((gathered, optimizer), (fresh, expected)):
        give_gradients(parameters, 2)
        each.step(GO)
    assert same(moments(optimizer), moments(expected))


# Warm-up --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("warmup_steps", "expected"),
    [
        (4, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]),
        (2.5, [0.04, 0.08, 0.1, 0.1]),
        (1, [0.1, 0.1, 0.1]),
        (0, [0.1, 0.1, 0.1]),
        (0.3, [0.1, 0.1, 0.1]),
    ],
)
def test_learning_rate_rises_linearly_and_stays(warmup_steps: float, expected: list[float]) -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = Adamax([parameter], lr=0.1, warmup_steps=warmup_steps)
    rates, moves = [], []
    for _ in expected:
        rates.append(optimizer.learning_rate.item())
        before = parameter.item()
        # With one gradient all the time, m / (1 - beta1^t) and u are that gradient: a step moves by the learning rate.
        parameter.grad = torch.full((1,), 2.0)
        optimizer.step(GO)
        moves.append(before - parameter.item())
    assert rates == pytest.approx(expected)
    assert moves == pytest.approx(expected, rel=1e-5)


def test_skipped_step_does_not_warm_up() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = Adamax([parameter], lr=0.1, warmup_steps=4)
    for allowed, rate in ((GO, 0.05), (STOP, 0.05), (GO, 0.075)):
        parameter.grad = torch.ones(1)
        optimizer.step(allowed)
        assert optimizer.learning_rate.item() == pytest.approx(rate)


# Clipping -------------------------------------------------------------------------------------


def first_gradients(optimizer: Adamax, parameters: list[nn.Parameter]) -> list[NDArray[np.float32]]:
    """Return the gradients that a first update used, in the order of the parameters, from its first moment."""
    offset, taken = 0, []
    for parameter in parameters:
        piece = optimizer.first_moment.as_strided(parameter.shape, parameter.stride(), offset)
        taken.append(10 * piece.numpy())
        offset += parameter.numel()
    return taken


@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize("norm", [0.0, 0.7, 1e6])
def test_gradients_are_clipped_by_value_then_by_norm(value: float, norm: float) -> None:
    parameters = some_parameters(torch.float32)
    optimizer = Adamax(parameters, lr=0.01, max_value=value, max_norm=norm)
    give_gradients(parameters, 0)
    expected = [parameter.grad.numpy().copy() for parameter in parameters if parameter.grad is not None]
    if value:
        expected = [np.clip(gradient, -value, value) for gradient in expected]
    if norm:
        total = math.sqrt(sum(float((gradient.astype(np.float64) ** 2).sum()) for gradient in expected))
        expected = [gradient * min(1.0, norm / total) for gradient in expected]
    assert optimizer.step(GO)
    for taken, gradient in zip(first_gradients(optimizer, parameters), expected, strict=True):
        assert taken == pytest.approx(gradient, rel=1e-4, abs=1e-7)


def test_weight_decay_is_added_after_clipping() -> None:
    parameter = nn.Parameter(torch.tensor([3.0, -4.0]))
    optimizer = Adamax([parameter], lr=0.01, weight_decay=0.5, max_value=1.0)
    parameter.grad = torch.tensor([10.0, 0.5])
    optimizer.step(GO)
    assert (10 * optimizer.first_moment).tolist() == pytest.approx([1.0 + 1.5, 0.5 - 2.0])


# Skipped steps --------------------------------------------------------------------------------

EVERYTHING = {"lr": 0.01, "warmup_steps": 8.0, "weight_decay": 0.1, "max_value": 1.0, "max_norm": 2.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("settings", [{"lr": 0.01}, EVERYTHING], ids=["plain", "everything"])
def test_gradient_that_is_not_finite_changes_no_bit(bad: float, settings: dict[str, float]) -> None:
    parameters = some_parameters(torch.float32)
    optimizer = Adamax(parameters, **settings)
    give_gradients(parameters, 0)
    assert optimizer.step(GO)
    before = moments(optimizer)
    give_gradients(parameters, 1)
    last = parameters[-2].grad
    assert last is not None
    last[-1, -1] = bad
    assert not optimizer.step(GO)
    assert same(moments(optimizer), before)


def test_step_not_allowed_changes_no_bit() -> None:
    parameters = some_parameters(torch.float32)
    optimizer = Adamax(parameters, **EVERYTHING)
    give_gradients(parameters, 0)
    optimizer.step(GO)
    before = moments(optimizer)
    give_gradients(parameters, 1)
    assert not optimizer.step(STOP)
    assert same(moments(optimizer), before)


@pytest.mark.parametrize("skipped", [(0,), (1,), (0, 1, 3, 4)], ids=str)
def test_skipped_steps_do_not_affect_the_others(skipped: tuple[int, ...]) -> None:
    some, all_ = some_parameters(torch.float32), some_parameters(torch.float32)
    never, saw = Adamax(some, **EVERYTHING), Adamax(all_, **EVERYTHING)
    for seed in range(6):
        give_gradients(all_, seed)
        if seed in skipped:
            all_[1].grad = torch.full_like(all_[1], math.nan)
        else:
            give_gradients(some, seed)
            assert never.step(GO)
        assert bool(saw.step(GO)) == (seed not in skipped)
    assert same(moments(saw), moments(never))
    assert all(torch.equal(a, b) for a, b in zip(all_, some, strict=True))


def test_skipped_first_step_moves_nothing() -> None:
    parameters = some_parameters(torch.float32)
    optimizer = Adamax(parameters, **EVERYTHING)
    before = moments(optimizer)
    give_gradients(parameters, 0)
    assert not optimizer.step(STOP)
    for name in ("vector", "first_moment", "steps"):
        assert torch.equal(getattr(optimizer, name), before[name])


# One vector -----------------------------------------------------------------------------------


def test_parameters_keep_their_values_shapes_and_memory_formats() -> None:
    parameters = some_parameters(torch.float32)
    before = copy.deepcopy(parameters)
    optimizer = Adamax(parameters, lr=0.01)
    for parameter, expected in zip(parameters, before, strict=True):
        assert torch.equal(parameter, expected)
        assert parameter.stride() == expected.stride()
    assert parameters[2].is_contiguous(memory_format=torch.channels_last)
    assert optimizer.vector.numel() == sum(parameter.numel() for parameter in parameters)


def test_loaded_weights_stay_views_of_the_vector() -> None:
    model, other = jittered_glow(), jittered_glow()
    optimizer = Adamax(model.parameters(), lr=0.01)
    optimizer.vector.fill_(2.5)
    assert all((parameter == 2.5).all() for parameter in model.parameters())
    model.load_state_dict(other.state_dict())
    assert same(model.state_dict(), other.state_dict())
    squares = math.fsum(parameter.detach().double().square().sum().item() for parameter in other.parameters())
    assert optimizer.vector.double().square().sum().item() == pytest.approx(squares, rel=1e-9)
    optimizer.vector.zero_()
    assert all(parameter.count_nonzero() == 0 for parameter in model.parameters())


@pytest.mark.slow
def test_compiled_updates_are_the_plain_ones() -> None:
    def after_updates(compiled: bool) -> Adamax:
        random = torch.Generator().manual_seed(0)
        parameters = [nn.Parameter(torch.randn(shape, generator=random)) for shape in ((5, 3), (7,))]
        optimizer = Adamax(parameters, lr=0.01, warmup_steps=4, weight_decay=0.1, max_value=1.0, max_norm=1.0)
        optimizer.compiled = compiled
        for finite in (True, True, False, True):
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=random) / (1.0 if finite else 0.0)
            assert optimizer.step(torch.tensor(True)).item() == finite
            optimizer.zero_grad()
        return optimizer

    plain, compiled = after_updates(compiled=False), after_updates(compiled=True)
    assert compiled.steps == plain.steps == 3
    torch.testing.assert_close(compiled.vector, plain.vector)
    torch.testing.assert_close(compiled.gradient_norm, plain.gradient_norm, equal_nan=True)

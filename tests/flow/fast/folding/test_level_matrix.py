"""The matrix of a level holds all parameters of its steps, and its gradient is theirs."""

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from glow_pipeline.flow.fast.folding.level_matrix import layout_of, level_matrix, parameters_in
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.training.adamax import Adamax
from tests.flow.helpers import perturbed, seeded


def new_steps(**options: bool) -> list[FlowStep]:
    made = [FlowStep(6, 8, generator=seeded(seed), **options) for seed in range(3)]  # type: ignore[arg-type]
    return [perturbed(step, seed=k).to(memory_format=torch.channels_last) for k, step in enumerate(made)]


def adjacent_steps(**options: bool) -> tuple[list[FlowStep], Adamax]:
    """Steps whose parameters are views of an optimizer's vector, behind those of another layer."""
    steps = new_steps(**options)
    return steps, Adamax(nn.ModuleList([nn.Linear(3, 2, dtype=torch.float64), *steps]).parameters(), lr=0.1)


def matrix_of(steps: list[FlowStep]) -> Tensor:
    return level_matrix(steps, layout_of(steps[0]))


@pytest.mark.parametrize("LU_decomposed", [False, True])
@pytest.mark.parametrize("adjacent", [False, True])
def test_matrix_holds_every_parameter(adjacent: bool, LU_decomposed: bool) -> None:
    options = {"LU_decomposed": LU_decomposed}
    steps = adjacent_steps(**options)[0] if adjacent else new_steps(**options)
    layout = layout_of(steps[0])
    found = parameters_in(level_matrix(steps, layout), layout)
    assert found.keys() == dict(steps[0].named_parameters()).keys()
    for k, step in enumerate(steps):
        for name, parameter in step.named_parameters():
            assert torch.equal(found[name][k], parameter), name


def test_matrix_of_adjacent_parameters_is_a_view() -> None:
    steps, optimizer = adjacent_steps()
    matrix = matrix_of(steps)
    assert matrix.untyped_storage().data_ptr() == optimizer.vector.untyped_storage().data_ptr()
    assert torch.equal(matrix.flatten(), optimizer.vector[8:])  # behind the other layer
    optimizer.vector.zero_()
    assert matrix.count_nonzero() == 0


def test_matrix_of_other_parameters_is_a_copy() -> None:
    moved, _ = adjacent_steps()
    moved[1].double().actnorm.bias = nn.Parameter(moved[1].actnorm.bias.detach().clone())
    strided, _ = adjacent_steps()
    weight = strided[2].coupling.get_parameter("network.conv2.weight")
    weight.data = weight.data.transpose(0, 1)  # the same memory
    for steps in (moved, strided, list(reversed(adjacent_steps()[0]))):
        matrix, layout = matrix_of(steps), layout_of(steps[0])
        memory = steps[0].actnorm.bias.untyped_storage().data_ptr()
        assert matrix.untyped_storage().data_ptr() != memory
        for k, step in enumerate(steps):
            for name, parameter in step.named_parameters():
                assert torch.equal(parameters_in(matrix, layout)[name][k], parameter), name


@pytest.mark.parametrize("adjacent", [False, True])
def test_gradient_of_the_matrix_reaches_each_parameter(adjacent: bool) -> None:
    steps = adjacent_steps()[0] if adjacent else new_steps()
    layout = layout_of(steps[0])
    loss = torch.zeros((), dtype=torch.float64)
    for k, each in enumerate(parameters_in(level_matrix(steps, layout), layout).values()):
        loss = loss + (k + 1) * (each**3).sum()
    loss.backward()
    for step in steps:
        for k, parameter in enumerate(step.parameters()):
            torch.testing.assert_close(parameter.grad, 3 * (k + 1) * parameter.detach() ** 2, rtol=1e-12, atol=1e-12)


def test_gradients_of_adjacent_parameters_are_one_tensor() -> None:
    steps, _ = adjacent_steps()
    matrix_of(steps).square().sum().backward()
    gradients = [cast(Tensor, parameter.grad) for step in steps for parameter in step.parameters()]
    assert len({gradient.untyped_storage().data_ptr() for gradient in gradients}) == 1
    assert all(
        gradient.stride() == parameter.stride()
        for gradient, parameter in zip(gradients, (p for step in steps for p in step.parameters()), strict=True)
    )

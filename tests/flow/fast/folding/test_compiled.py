"""A level folded in one region has the weights and gradients of `folding`."""

from typing import Any

import pytest
import torch
from torch import Tensor

from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.folding.compiled import folded_weights
from glow_pipeline.flow.fast.folding.factors import Weights, factors_of
from glow_pipeline.flow.fast.folding.prepared import prepare
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.training.adamax import Adamax
from tests.flow.fast.test_fused import glow
from tests.flow.helpers import OPTIONS, gaussian

LU = pytest.param({"LU_decomposed": True, "flow_coupling": "additive"}, id="LU, additive")


def steps_of(**options: Any) -> tuple[list[FlowStep], list[Tensor]]:
    model = glow(5, **options).to(memory_format=torch.channels_last)
    Adamax(model.parameters(), lr=0.1)
    steps = model._levels[1]._steps
    return steps, [parameter for step in steps for parameter in step.parameters()]


def gradients(parameters: list[Tensor], weights: Weights, log_abs_det: Tensor) -> tuple[Tensor, ...]:
    loss = log_abs_det * 3
    for seed, each in enumerate(weights):
        loss = loss + (each * gaussian(*each.shape, seed=seed)).sum()
    return torch.autograd.grad(loss, parameters)


@pytest.mark.parametrize("options", [*OPTIONS, LU])
def test_weights_and_gradients_are_those_of_folding(options: dict[str, Any]) -> None:
    steps, parameters = steps_of(**options)
    weights, log_abs_det = folded_weights(steps, Execution(products=True), 6)
    prepared = prepare(steps)
    expected = factors_of(prepared.stacked)
    for name, each, other in zip(Weights._fields, weights, expected, strict=True):
        torch.testing.assert_close(each, other, rtol=1e-12, atol=1e-12, msg=name)
    torch.testing.assert_close(log_abs_det, 6 * prepared.log_abs_det, rtol=1e-12, atol=1e-12)
    for gradient, other in zip(
        gradients(parameters, weights, log_abs_det),
        gradients(parameters, expected, 6 * prepared.log_abs_det),
        strict=True,
    ):
        torch.testing.assert_close(gradient, other, rtol=1e-10, atol=1e-10)

from itertools import product
from typing import get_args

import pytest
import torch

from glow_pipeline.flow.coupling import COUPLINGS, AdditiveCoupling, AffineCoupling, FoldableCoupling
from glow_pipeline.flow.permutation import FixedPermutation, InvertibleConv, LUInvertibleConv
from glow_pipeline.flow.step import FlowPermutation, FlowStep
from tests.flow.helpers import assert_inverts, assert_logdet_is_the_jacobians, gaussian, perturbed, seeded

every_step = pytest.mark.parametrize(
    ("flow_permutation", "flow_coupling", "LU_decomposed"),
    list(product(get_args(FlowPermutation), COUPLINGS, [False, True])),
)


def build(flow_permutation: FlowPermutation, flow_coupling: str, LU_decomposed: bool) -> FlowStep:
    return FlowStep(
        4,
        6,
        flow_permutation=flow_permutation,
        flow_coupling=flow_coupling,
        LU_decomposed=LU_decomposed,
        generator=seeded(),
    )


@every_step
def test_logdet_is_the_jacobians(flow_permutation: FlowPermutation, flow_coupling: str, LU_decomposed: bool) -> None:
    step = perturbed(build(flow_permutation, flow_coupling, LU_decomposed))
    assert_logdet_is_the_jacobians(step, gaussian(2, 4, 2, 4))


@every_step
@pytest.mark.parametrize("magnitude", [1, 10, 100])
def test_inverts(flow_permutation: FlowPermutation, flow_coupling: str, LU_decomposed: bool, magnitude: float) -> None:
    step = perturbed(build(flow_permutation, flow_coupling, LU_decomposed), size=0.1)
    x = magnitude * gaussian(3, 4, 4, 6)
    assert_inverts(step, x, tolerance=1e-10)
    assert_inverts(step.float(), x.float(), tolerance=1e-4)


def test_is_actnorm_then_permutation_then_coupling() -> None:
    step = perturbed(build("invconv", "affine", False))
    x = gaussian(2, 4, 2, 4)
    expected = step.coupling(step.permutation(step.actnorm(x)[0])[0])[0]
    assert torch.equal(step(x)[0], expected)


@pytest.mark.parametrize(
    ("flow_permutation", "LU_decomposed", "expected"),
    [
        ("reverse", False, FixedPermutation),
        ("shuffle", False, FixedPermutation),
        ("invconv", False, InvertibleConv),
        ("invconv", True, LUInvertibleConv),
    ],
)
def test_permutation_is_the_requested_class(
    flow_permutation: FlowPermutation, LU_decomposed: bool, expected: type[torch.nn.Module]
) -> None:
    assert type(build(flow_permutation, "affine", LU_decomposed).permutation) is expected


def test_reverse_and_shuffle_differ() -> None:
    reverse = build("reverse", "affine", False).permutation
    shuffle = build("shuffle", "affine", False).permutation
    assert isinstance(reverse, FixedPermutation)
    assert isinstance(shuffle, FixedPermutation)
    assert reverse.order.tolist() == [3, 2, 1, 0]
    assert shuffle.order.tolist() != [3, 2, 1, 0]


def test_coupling_is_the_requested_class() -> None:
    assert type(build("reverse", "affine", False).coupling) is AffineCoupling
    assert type(build("reverse", "additive", False).coupling) is AdditiveCoupling


def test_actnorm_scale_reaches_the_couplings_actnorms() -> None:
    step = FlowStep(4, 6, actnorm_scale=0.7)
    assert step.actnorm.actnorm_scale == 0.7
    assert isinstance(step.coupling, FoldableCoupling)
    assert step.coupling.network.actnorm1.actnorm_scale == 0.7
    assert step.coupling.network.actnorm2.actnorm_scale == 0.7

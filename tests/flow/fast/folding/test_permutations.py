"""The permutations of a level, all at once, are those of its layers, and so are their gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from glow_pipeline.flow.fast.folding.permutations import fixed_tensors, matrices_and_log_abs_det, transposed_inverses
from glow_pipeline.flow.permutation import InvertibleConv, log_abs_dets
from tests.flow.helpers import gaussian, perturbed
from tests.flow.test_permutation import every_permutation

Values = tuple[Tensor, Tensor, list[Tensor | None]]


def stacked(layers: list[Any]) -> dict[str, Tensor]:
    names = dict(layers[0].named_parameters())
    return {f"permutation.{n}": torch.stack([layer.get_parameter(n) for layer in layers]) for n in names}


def gradients_of(layers: list[Any], matrices: Tensor, log_abs_det: Tensor | float) -> list[Tensor | None]:
    loss = (matrices * gaussian(*matrices.shape)).sum() + 3 * log_abs_det
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    return list(torch.autograd.grad(loss, parameters)) if parameters else []


@every_permutation
@pytest.mark.parametrize(("count", "channels"), [(1, 4), (3, 12), (18, 24)])
def test_level_has_the_matrices_of_its_layers(build: Any, count: int, channels: int) -> None:
    layers = [perturbed(build(channels), 0.1, seed=k) for k in range(count)]
    parameters, like = stacked(layers), torch.zeros((), dtype=torch.float64)
    fixed = fixed_tensors(layers, parameters)
    matrices, log_abs_det = matrices_and_log_abs_det(type(layers[0]), parameters, fixed, like)
    expected, expected_log = torch.stack([layer.matrix() for layer in layers]).double(), log_abs_dets(layers)
    torch.testing.assert_close(matrices, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_abs_det, torch.as_tensor(expected_log).double(), rtol=1e-12, atol=1e-12)
    for gradient, of_layer in zip(
        gradients_of(layers, matrices, log_abs_det), gradients_of(layers, expected, expected_log), strict=True
    ):
        torch.testing.assert_close(gradient, of_layer, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("count", "channels"), [(1, 24), (16, 24), (33, 24), (3, 192)])
def test_one_factorisation_gives_inverse_and_determinant(count: int, channels: int) -> None:
    matrices = gaussian(count, channels, channels)
    inverses, factors = transposed_inverses(matrices)
    torch.testing.assert_close(inverses, torch.linalg.inv(matrices).transpose(1, 2), rtol=1e-8, atol=1e-8)
    expected = torch.linalg.slogdet(matrices).logabsdet
    torch.testing.assert_close(factors.abs().log().sum(dim=1), expected, rtol=1e-10, atol=1e-10)


def test_singular_matrix_has_no_finite_gradient() -> None:
    layers = [InvertibleConv(4), InvertibleConv(4)]
    with torch.no_grad():
        layers[1].weight[2] = layers[1].weight[1] = 0.0
    parameters = stacked(layers)
    _, log_abs_det = matrices_and_log_abs_det(
        InvertibleConv, parameters, fixed_tensors(layers, parameters), layers[0].weight
    )
    assert log_abs_det == -torch.inf
    log_abs_det.backward()
    assert layers[1].weight.grad is not None
    assert not layers[1].weight.grad.isfinite().all()


class Factorisations(TorchDispatchMode):
    """Counts the operations of linear algebra."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ARG002
        if "linalg" in func.name():
            self.names.append(func.name().removeprefix("aten::"))
        return func(*args, **(kwargs or {}))


def test_backward_pass_factorizes_nothing() -> None:
    layers = [InvertibleConv(12) for _ in range(5)]
    parameters = stacked(layers)
    with Factorisations() as seen:
        fixed = fixed_tensors(layers, parameters)
        matrices_and_log_abs_det(InvertibleConv, parameters, fixed, layers[0].weight)[1].backward()
    assert seen.names == ["linalg_lu_factor_ex", "linalg_lu_solve"]

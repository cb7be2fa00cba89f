"""The permutations of a level's steps, all at once, in a form that torch.compile makes a few kernels of.

`fixed_tensors` has what is computed outside of compiled code and of autograd; `matrices_and_log_abs_det` the rest. The
gradient of log|det W| is W^-T: one factorisation of W gives both, and nothing is factorised in the backward pass.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from glow_pipeline.flow.permutation import FixedPermutation, InvertibleConv, LUInvertibleConv, factorized_at_once

Permutation = FixedPermutation | InvertibleConv
Inverses = Callable[[Tensor], tuple[Tensor, Tensor]]
LARGEST = 64  # channels of the matrices that a kernel inverts: they are in one multiprocessor's registers

logger = logging.getLogger(__name__)


@torch.no_grad()
def fixed_tensors(layers: Sequence[Permutation], parameters: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return what `matrices_and_log_abs_det` needs of layers of one class, beside their parameters.

    Args:
        layers: K permutations.
        parameters: those of the steps by name, (K, *shape) each.
    """
    if isinstance(layers[0], FixedPermutation):
        return (torch.stack([layer.order for layer in layers if isinstance(layer, FixedPermutation)]),)
    if isinstance(layers[0], LUInvertibleConv):
        lu_layers = [layer for layer in layers if isinstance(layer, LUInvertibleConv)]
        return tuple(torch.stack([getattr(layer, name) for layer in lu_layers]) for name in ("row_order", "sign_s"))
    return transposed_inverses(parameters["permutation.weight"].detach())


def matrices_and_log_abs_det(
    layer_class: type[Permutation], parameters: Mapping[str, Tensor], fixed: tuple[Tensor, ...], like: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the matrices (K, C, C) in the dtype of `like`, and the sum of their log|det|."""
    if issubclass(layer_class, FixedPermutation):
        return _one_hot(fixed[0], like), like.new_zeros(())
    if issubclass(layer_class, LUInvertibleConv):
        row_order, sign_s = fixed
        lower, upper, log_s = (parameters[f"permutation.{name}"] for name in ("lower", "upper", "log_s"))
        identity = torch.eye(log_s.shape[1], dtype=log_s.dtype, device=log_s.device)
        upper = upper.triu(1) + identity * (sign_s * log_s.exp())[:, None, :]
        return _one_hot(row_order, like) @ (lower.tril(-1) + identity) @ upper, log_s.sum()
    weights = parameters["permutation.weight"]
    log_abs_det: Tensor = _LogAbsDet.apply(weights, *fixed)
    return weights, log_abs_det


def transposed_inverses(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return W^-T (K, C, C) of matrices W, and factors (K, C) whose product is det W up to its sign."""
    kernel = kernel_on(matrices.device) if matrices.is_cuda and matrices.shape[1] <= LARGEST else None
    return inverses_by_operations(matrices) if kernel is None else kernel(matrices)


@cache
def kernel_on(device: torch.device) -> Inverses | None:
    """Return the kernel that computes `inverses_by_operations`, if this GPU runs it."""
    try:
        from glow_pipeline.flow.fast.kernel_failures import FAILURES  # needs Triton
        from glow_pipeline.flow.fast.kernels.matrix_inverses import kernel_inverses
    except ImportError as error:
        logger.debug("No kernel for inverses: %s", error)
        return None
    example = torch.tensor([[[0.0, 2.0], [1.0, 3.0]]], device=device)
    try:
        same = all(map(torch.allclose, kernel_inverses(example), inverses_by_operations(example)))
    except FAILURES as error:
        logger.debug("No kernel for inverses: %s", error)
        return None
    return kernel_inverses if same else None


def inverses_by_operations(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Compute `transposed_inverses` by torch's operations, of matrices of any size on any device."""
    parts = []
    for part in factorized_at_once(matrices):
        lu, pivots, _ = torch.linalg.lu_factor_ex(part)  # does not make the host wait to report a singular matrix
        identity = torch.eye(part.shape[1], dtype=part.dtype, device=part.device).expand_as(part)
        inverse = torch.linalg.lu_solve(lu, pivots, identity, adjoint=True)
        parts.append((inverse, lu.diagonal(dim1=1, dim2=2)))
    if len(parts) == 1:
        return parts[0]
    inverses, factors = zip(*parts, strict=True)
    return torch.cat(inverses), torch.cat(factors)


class _LogAbsDet(torch.autograd.Function):
    """Sum of log|det W| of matrices (K, C, C), given `transposed_inverses`."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, inverses: Tensor, factors: Tensor) -> Tensor:  # noqa: ARG004
        ctx.save_for_backward(inverses)
        return factors.abs().log().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (inverses,) = ctx.saved_tensors
        return grad * inverses, None, None


def _one_hot(order: Tensor, like: Tensor) -> Tensor:
    """Return permutations of rows (K, C) as matrices (K, C, C)."""
    return (order[:, :, None] == torch.arange(order.shape[1], device=order.device)).to(like.dtype)

"""The parameters of a level's steps as one matrix, a row a step, each row in the order of `FlowStep.parameters()`.

An optimizer that keeps all parameters in one vector (`training/adamax.py`) has this matrix in memory: it is a view, and
its gradient is the gradients of all parameters of the level, as one tensor and in the vector's order. Without it a
step on a GPU launches a kernel for hundreds of small tensors, to stack them and to take their gradients apart.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Place(NamedTuple):
    """A parameter in the row of a step."""

    name: str  # as `FlowStep.named_parameters` has it
    shape: tuple[int, ...]
    dims: tuple[int, ...]  # its dimensions in the order of memory, the outermost first


Layout = tuple[Place, ...]


def layout_of(step: nn.Module) -> Layout:
    """Return how a row of `level_matrix` is made up; it is that of all steps of the level."""
    return tuple(Place(name, tuple(each.shape), _dims_in_memory(each)) for name, each in step.named_parameters())


def level_matrix(steps: Sequence[nn.Module], layout: Layout) -> Tensor:
    """Return the parameters of steps with this layout: (K, values of a step).

    It is a view if they lie one behind the other in memory, a copy otherwise; gradients reach the parameters anyway.
    """
    parameters = [parameter for step in steps for parameter in step.parameters()]
    dims = [place.dims for _ in steps for place in layout]
    in_memory_order = [each.permute(order) for each, order in zip(parameters, dims, strict=True)]
    if not _are_adjacent(in_memory_order):
        return torch.cat([each.flatten() for each in in_memory_order]).view(len(steps), -1)
    joined: Tensor = _Joined.apply(len(steps), *parameters)
    return joined


def parameters_in(matrix: Tensor, layout: Layout) -> dict[str, Tensor]:
    """Return the parameters in a level's matrix by their names in a step, as views: (K, *shape) each."""
    pieces = matrix.split([math.prod(place.shape) for place in layout], dim=1)
    return {
        place.name: piece.view(len(matrix), *(place.shape[d] for d in place.dims)).permute(
            0, *(1 + place.dims.index(d) for d in range(len(place.shape)))
        )
        for place, piece in zip(layout, pieces, strict=True)
    }


class _Joined(torch.autograd.Function):
    """Parameters that are adjacent in memory as one matrix, without a copy, nor one of the gradient."""

    @staticmethod
    def forward(ctx: Any, rows: int, *parameters: Tensor) -> Tensor:
        ctx.shapes_and_strides = [(each.shape, each.stride()) for each in parameters]
        values = sum(each.numel() for each in parameters)
        first = parameters[0].detach()
        return first.as_strided((rows, values // rows), (values // rows, 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad, gradients = grad.contiguous(), []
        offset = grad.storage_offset()
        for shape, stride in ctx.shapes_and_strides:
            gradients.append(grad.as_strided(shape, stride, offset))
            offset += math.prod(shape)
        return None, *gradients


def _dims_in_memory(tensor: Tensor) -> tuple[int, ...]:
    strides = tensor.stride()
    return tuple(sorted(range(len(strides)), key=lambda d: -strides[d]))


def _are_adjacent(tensors: Sequence[Tensor]) -> bool:
    """Return whether each tensor is contiguous and the next one lies behind it in the same memory."""
    memory, end = tensors[0].untyped_storage()._cdata, tensors[0].storage_offset()
    for each in tensors:
        if each.storage_offset() != end or not each.is_contiguous() or each.untyped_storage()._cdata != memory:
            return False
        end += each.numel()
    return True

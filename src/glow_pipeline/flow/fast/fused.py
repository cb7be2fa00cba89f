"""The steps of a level in fewer and larger operations, with a backward pass of their own.

The plain layers say what a step is: actnorm, permutation, coupling. Here the same map is computed from their folded
parameters (`folding`). Tests hold both to each other.

The backward pass is written out because it then keeps what it needs and no more, and can do without: a step's input is
the step before's output, and of a step everything else follows from its output y = [x1, y2]. What is kept between the
two passes is a choice, whose gradients are the same:

    stored        outputs, and the hidden layers of the coupling networks
    checkpointed  outputs; the hidden layers are computed again
    reversible    the last output; the others are computed back from it, in memory that K does not change
                  (Gomez et al. 2017, arXiv:1707.04585)
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from glow_pipeline.flow.coupling import affine_scale, log_affine_scale
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.folding import Folded, Prepared, inverse_matrices


class Hidden(NamedTuple):
    """What a coupling network and its scale left behind, for the backward pass."""

    first: Tensor  # (B, hidden, H, W), behind the first ReLU
    second: Tensor  # behind the second
    scale: Tensor | None  # (B, C2, H, W) of an affine coupling


def run(level: Prepared, x: Tensor, execution: Execution) -> tuple[Tensor, Tensor]:
    """All steps of a level: x (B, C, H, W) -> y of the same shape, logdet (B,)."""
    if torch.is_grad_enabled():
        flat = [tensor for step in level.folded for tensor in step]
        y, logdet = _Steps.apply(x, execution, level.scale_floor, *flat)
    else:
        y, logdet = x, x.new_zeros(len(x))
        for step in level.folded:
            y, step_logdet = step_forward(y, step, level.scale_floor)[:2]  # lets go of the hidden layers at once
            logdet += step_logdet
    return y, logdet + level.log_abs_det * (x.shape[2] * x.shape[3])


def inverse(level: Prepared, y: Tensor) -> Tensor:
    """The inverse of `run`."""
    for step, matrix in zip(reversed(level.folded), reversed(level.inverse_matrices), strict=True):
        out = network(y, step)[0]
        y = _inverse_given(out, y, step, matrix, level.scale_floor)
    return y


def step_forward(x: Tensor, step: Folded, scale_floor: float | None) -> tuple[Tensor, Tensor, Hidden]:
    """x (B, C, H, W) -> y, the coupling's logdet (B,), and what its network left behind.

    Here and below: without a `scale_floor` the coupling is additive.
    """
    y = _mixed(x, step.matrix, step.bias)
    y2 = y[:, step.weight1.shape[1] :]
    out, first, second = network(y, step)
    if scale_floor is None:
        y2 += out
        return y, y.new_zeros(len(y)), Hidden(first, second, None)
    shift, s = out.chunk(2, dim=1)
    log_scale = log_affine_scale(s, scale_floor)
    scale = log_scale.exp()
    y2.add_(shift).mul_(scale)
    return y, log_scale.sum(dim=(1, 2, 3)), Hidden(first, second, scale)


def network(y: Tensor, step: Folded) -> tuple[Tensor, Tensor, Tensor]:
    """The coupling network on the first channels of y (B, C, H, W): its output in y's dtype, and both hidden layers.

    The hidden layers have the dtype of the network's weights.
    """
    y1 = y[:, : step.weight1.shape[1]].to(step.weight1.dtype)
    first = F.conv2d(y1, step.weight1, step.bias1, padding=1).relu_()
    second = F.conv2d(first, step.weight2, step.bias2).relu_()
    return F.conv2d(second, step.weight3, step.bias3, padding=1).to(y.dtype), first, second


def _mixed(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """The linear map of each pixel's channels, as one matrix product: pixels are rows where channels are last."""
    return F.linear(x.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)


def _inverse_given(out: Tensor, y: Tensor, step: Folded, inverse_matrix: Tensor, scale_floor: float | None) -> Tensor:
    """The inverse of a step, given what its coupling network answered and the inverse of its matrix (C, C)."""
    c1 = step.weight1.shape[1]
    y1, y2 = y[:, :c1], y[:, c1:]
    if scale_floor is None:
        x2 = y2 - out
    else:
        shift, s = out.chunk(2, dim=1)
        x2 = y2 * torch.exp(-log_affine_scale(s, scale_floor)) - shift
    return _mixed(torch.cat([y1, x2], dim=1) - step.bias[:, None, None], inverse_matrix)


def step_backward(
    grad_y: Tensor,
    grad_logdet: Tensor,
    x: Tensor,
    y: Tensor,
    hidden: Hidden,
    step: Folded,
    scale_floor: float | None,
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of a step's input and of its eight folded parameters.

    With y2 = (x2 + shift) * scale, dy2/ds = y2 * d and dlogdet/ds = d, where d = dlog(scale)/ds. It is 1 - scale for
    scale = sigmoid(s + 2), and (1 - scale) (1 - floor / scale) / (1 - floor) with a floor.
    """
    c1, low = step.weight1.shape[1], step.weight1.dtype
    grad_y1, grad_y2 = grad_y[:, :c1], grad_y[:, c1:]
    if hidden.scale is None:
        grad_x2 = grad_out = grad_y2
    else:
        grad_x2 = grad_y2 * hidden.scale
        grad_s = torch.addcmul(grad_logdet[:, None, None, None], grad_y2, y[:, c1:]) * (1 - hidden.scale)
        if scale_floor:
            grad_s = grad_s * (1 - scale_floor / hidden.scale) / (1 - scale_floor)
        grad_out = torch.cat([grad_x2, grad_s], dim=1)
    grad_hidden, *of_third = _convolution_backward(grad_out.to(low), hidden.second, step.weight3)
    grad_hidden = torch.ops.aten.threshold_backward(grad_hidden, hidden.second, 0)
    grad_hidden, *of_second = _convolution_backward(grad_hidden, hidden.first, step.weight2)
    grad_hidden = torch.ops.aten.threshold_backward(grad_hidden, hidden.first, 0)
    grad_y1_too, *of_first = _convolution_backward(grad_hidden, y[:, :c1].to(low), step.weight1)
    grad_mixed = torch.cat([grad_y1 + grad_y1_too, grad_x2], dim=1)
    rows, x_rows = (tensor.permute(0, 2, 3, 1).reshape(-1, x.shape[1]) for tensor in (grad_mixed, x))  # (B H W, C)
    grad_x = _mixed(grad_mixed, step.matrix.t())
    return grad_x, [rows.t() @ x_rows, rows.sum(dim=0), *of_first, *of_second, *of_third]


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, weight and bias of a convolution that keeps the image's size."""
    padding = weight.shape[2] // 2
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, [len(weight)], [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, [True, True, True]
    )
    return gradients


class _Steps(torch.autograd.Function):
    """The steps of a level as one node of autograd's graph."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, execution: Execution, scale_floor: float | None, *flat: Tensor
    ) -> tuple[Tensor, Tensor]:
        forward = execution.of_region(step_forward)
        # Compiled code is made anew where an input requires gradients or lies otherwise in memory.
        x, flat = x.detach(), tuple(tensor.detach() for tensor in flat)
        kept: list[Tensor] = []
        y, logdet = x, x.new_zeros(len(x))
        with execution.of_convolutions():
            for step in _unflattened(flat):
                if execution.activations != "reversible":
                    kept.append(y)
                y, step_logdet, hidden = forward(y, step, scale_floor)
                logdet += step_logdet
                if execution.activations == "stored":
                    kept += [tensor for tensor in hidden if tensor is not None]
                del hidden  # before the next step makes its own
        ctx.save_for_backward(*flat, y, *kept)
        ctx.execution, ctx.scale_floor, ctx.n_flat = execution, scale_floor, len(flat)
        return y, logdet

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_logdet: Tensor) -> tuple[Tensor | None, ...]:
        saved: tuple[Tensor, ...] = tuple(tensor.detach() for tensor in ctx.saved_tensors)
        grad_y = grad_y.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        folded, y, kept = _unflattened(saved[: ctx.n_flat]), saved[ctx.n_flat], list(saved[ctx.n_flat + 1 :])
        execution: Execution = ctx.execution
        recompute, backward = execution.of_region(_recomputed), execution.of_region(step_backward)
        reversible = execution.activations == "reversible"
        inverses: list[Tensor] | list[None] = inverse_matrices(folded) if reversible else [None] * len(folded)
        gradients: list[list[Tensor]] = []
        with execution.of_convolutions():
            for step, inverse_matrix in zip(reversed(folded), reversed(inverses), strict=True):
                if execution.activations == "stored":
                    scale = None if ctx.scale_floor is None else kept.pop()
                    second, first, x = kept.pop(), kept.pop(), kept.pop()
                    hidden = Hidden(first, second, scale)
                else:
                    hidden, reversed_x = recompute(y, step, inverse_matrix, ctx.scale_floor)
                    x = kept.pop() if reversed_x is None else reversed_x
                grad_y, of_step = backward(grad_y, grad_logdet, x, y, hidden, step, ctx.scale_floor)
                gradients.append(of_step)
                y = x
                del hidden
        flat = [gradient for of_step in reversed(gradients) for gradient in of_step]
        return grad_y, None, None, *flat


def _recomputed(
    y: Tensor, step: Folded, inverse_matrix: Tensor | None, scale_floor: float | None
) -> tuple[Hidden, Tensor | None]:
    """What a coupling network left behind, from its step's output; and the step's input, given the matrix's inverse."""
    out, first, second = network(y, step)
    scale = None if scale_floor is None else affine_scale(out.chunk(2, dim=1)[1], scale_floor)
    x = None if inverse_matrix is None else _inverse_given(out, y, step, inverse_matrix, scale_floor)
    return Hidden(first, second, scale), x


def _unflattened(flat: tuple[Tensor, ...]) -> list[Folded]:
    n = len(Folded._fields)
    return [Folded(*flat[i : i + n]) for i in range(0, len(flat), n)]

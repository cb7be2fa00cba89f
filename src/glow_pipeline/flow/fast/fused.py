"""The steps of a level in fewer and larger operations, with a backward pass of their own.

The plain layers define a step: actnorm, permutation, coupling. The same map is computed here from their folded
parameters (`folding`) and the coupling's `Transform`. Tests hold both to each other.

The backward pass is written by hand because it then keeps only what it needs, and can do with less: the input of a step
is the output of the step before, and everything else in a step follows from its output y = [x1, y2]. What is kept
between the two passes is a choice, with the same gradients:

    stored        outputs, and the hidden layers of the coupling networks
    checkpointed  outputs; the hidden layers are computed again
    reversible    the last output; the others are computed back from it, in memory that does not grow with K
                  (Gomez et al. 2017, arXiv:1707.04585)
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.folding.folded import Folded, inverse_matrices
from glow_pipeline.flow.fast.folding.prepared import Prepared
from glow_pipeline.flow.transform import Transform


class Hidden(NamedTuple):
    """The intermediate results of a coupling that its backward pass needs."""

    first: Tensor  # (B, hidden, H, W), after the first ReLU
    second: Tensor  # after the second
    saved: tuple[Tensor, ...]  # by the transform, (B, C2, H, W) each


def run(level: Prepared, x: Tensor, execution: Execution) -> tuple[Tensor, Tensor]:
    """Compute all steps of a level: x (B, C, H, W) -> y of the same shape, logdet (B,)."""
    if torch.is_grad_enabled():
        flat = [tensor for step in level.steps for tensor in step]
        y, logdet = _Steps.apply(x, execution, level.transform, *flat)
    else:
        y, logdet = x, x.new_zeros(x.shape[0])
        for step in level.steps:
            y, step_logdet = step_forward(y, step, level.transform)[:2]  # frees the hidden layers at once
            logdet += step_logdet
    return y, logdet + level.log_abs_det * (x.shape[2] * x.shape[3])


def run_traced(level: Prepared, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `run` without gradients, with the same bits, and where the log-determinant comes from.

    Returns:
        y (B, C, H, W), logdet (B,), and the couplings' log-scales summed over steps and channels, (B, H, W).
    """
    y, logdet = x, x.new_zeros(x.shape[0])
    log_scale = x.new_zeros(x.shape[0], *x.shape[2:])
    for step in level.steps:
        y, step_logdet, hidden = step_forward(y, step, level.transform)
        logdet += step_logdet
        of_step = level.transform.log_scale(hidden.saved)
        if of_step is not None:
            log_scale += of_step.sum(dim=1)
        del hidden  # before the next step makes its own
    return y, logdet + level.log_abs_det * (x.shape[2] * x.shape[3]), log_scale


def inverse(level: Prepared, y: Tensor) -> Tensor:
    """Compute the inverse of `run`."""
    for step, matrix in zip(reversed(level.steps), reversed(level.inverse_matrices), strict=True):
        predicted = network(y, step)[0]
        y = _inverse_given(predicted, y, step, matrix, level.transform)
    return y


def step_forward(x: Tensor, step: Folded, transform: Transform) -> tuple[Tensor, Tensor, Hidden]:
    """Compute a step: x (B, C, H, W) -> y, the coupling's logdet (B,), and its intermediate results."""
    y = _mixed(x, step.matrix, step.bias)
    predicted, first, second = network(y, step)
    logdet, saved = transform.forward_(y[:, step.weight1.shape[1] :], predicted)
    return y, logdet, Hidden(first, second, saved)


def network(y: Tensor, step: Folded) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the coupling network on the first channels of y (B, C, H, W).

    Returns:
        its output (B, out, H, W) in y's dtype, and both hidden layers in the dtype of the network's weights.
    """
    y1 = y[:, : step.weight1.shape[1]].to(step.weight1.dtype)
    first = F.conv2d(y1, step.weight1, step.bias1, padding=1).relu_()
    if y.is_cuda:  # cuDNN takes up to three times as long in float32
        second = _mixed(first, step.weight2[:, :, 0, 0], step.bias2).relu_()
    else:
        second = F.conv2d(first, step.weight2, step.bias2).relu_()
    return F.conv2d(second, step.weight3, step.bias3, padding=1).to(y.dtype), first, second


def _mixed(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map each pixel's channels linearly, as one matrix product: pixels are rows where channels are last."""
    return F.linear(x.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)


def _inverse_given(predicted: Tensor, y: Tensor, step: Folded, inverse_matrix: Tensor, transform: Transform) -> Tensor:
    """Invert a step, given the output of its coupling network and the inverse of its matrix (C, C)."""
    c1 = step.weight1.shape[1]
    x2 = transform.inverse(y[:, c1:], predicted)
    return _mixed(torch.cat([y[:, :c1], x2], dim=1) - step.bias[:, None, None], inverse_matrix)


def step_backward(
    grad_y: Tensor,
    grad_logdet: Tensor,
    x: Tensor,
    y: Tensor,
    hidden: Hidden,
    step: Folded,
    transform: Transform,
) -> tuple[Tensor, list[Tensor]]:
    """Return the gradients of a step's input and of its eight folded parameters."""
    c1, low = step.weight1.shape[1], step.weight1.dtype
    grad_x2, grad_predicted = transform.backward(grad_y[:, c1:], grad_logdet, y[:, c1:], hidden.saved)
    grad_hidden, *third_gradients = _convolution_backward(grad_predicted.to(low), hidden.second, step.weight3)
    grad_hidden = torch.ops.aten.threshold_backward(grad_hidden, hidden.second, 0)
    grad_hidden, *second_gradients = _convolution_backward(grad_hidden, hidden.first, step.weight2)
    grad_hidden = torch.ops.aten.threshold_backward(grad_hidden, hidden.first, 0)
    grad_y1_by_network, *first_gradients = _convolution_backward(grad_hidden, y[:, :c1].to(low), step.weight1)
    grad_mixed = torch.cat([grad_y[:, :c1] + grad_y1_by_network, grad_x2], dim=1)
    rows, x_rows = (tensor.permute(0, 2, 3, 1).reshape(-1, x.shape[1]) for tensor in (grad_mixed, x))  # (B H W, C)
    grad_x = _mixed(grad_mixed, step.matrix.t())
    return grad_x, [rows.t() @ x_rows, rows.sum(dim=0), *first_gradients, *second_gradients, *third_gradients]


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of input, weight and bias of a convolution that keeps the image's size."""
    padding = weight.shape[2] // 2
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, [len(weight)], [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, [True, True, True]
    )
    return gradients


class _Steps(torch.autograd.Function):
    """The steps of a level as one node of autograd's graph."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, execution: Execution, transform: Transform, *flat: Tensor
    ) -> tuple[Tensor, Tensor]:
        forward = execution.maybe_compiled(step_forward)
        # torch.compile would compile again for an input that requires gradients or has other strides.
        x, flat = x.detach(), tuple(tensor.detach() for tensor in flat)
        kept: list[Tensor] = []
        y, logdet = x, x.new_zeros(len(x))
        with execution.convolution_precision():
            for step in _unflattened(flat):
                if execution.activations != "reversible":
                    kept.append(y)
                y, step_logdet, hidden = forward(y, step, transform)
                logdet += step_logdet
                if execution.activations == "stored":
                    kept += [hidden.first, hidden.second, *hidden.saved]
                del hidden  # before the next step makes its own
        ctx.save_for_backward(*flat, y, *kept)
        ctx.execution, ctx.transform, ctx.n_flat = execution, transform, len(flat)
        return y, logdet

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_logdet: Tensor) -> tuple[Tensor | None, ...]:
        saved: tuple[Tensor, ...] = tuple(tensor.detach() for tensor in ctx.saved_tensors)
        grad_y = grad_y.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        folded, y, kept = _unflattened(saved[: ctx.n_flat]), saved[ctx.n_flat], list(saved[ctx.n_flat + 1 :])
        kept_by_step = len(kept) // len(folded)
        execution: Execution = ctx.execution
        recompute, backward = execution.maybe_compiled(_recomputed), execution.maybe_compiled(step_backward)
        reversible = execution.activations == "reversible"
        inverses: list[Tensor] | list[None] = (
            inverse_matrices(torch.stack([step.matrix for step in folded])) if reversible else [None] * len(folded)
        )
        gradients: list[list[Tensor]] = []
        with execution.convolution_precision():
            for step, inverse_matrix in zip(reversed(folded), reversed(inverses), strict=True):
                if execution.activations == "stored":
                    x, first, second, *by_transform = kept[-kept_by_step:]
                    del kept[-kept_by_step:]
                    hidden = Hidden(first, second, tuple(by_transform))
                else:
                    hidden, reversed_x = recompute(y, step, inverse_matrix, ctx.transform)
                    x = kept.pop() if reversed_x is None else reversed_x
                grad_y, step_gradients = backward(grad_y, grad_logdet, x, y, hidden, step, ctx.transform)
                gradients.append(step_gradients)
                y = x
                del hidden
        flat = [gradient for step_gradients in reversed(gradients) for gradient in step_gradients]
        return grad_y, None, None, *flat


def _recomputed(
    y: Tensor, step: Folded, inverse_matrix: Tensor | None, transform: Transform
) -> tuple[Hidden, Tensor | None]:
    """Compute a coupling's intermediate results from its step's output, and with `inverse_matrix` the step's input."""
    predicted, first, second = network(y, step)
    x = None if inverse_matrix is None else _inverse_given(predicted, y, step, inverse_matrix, transform)
    return Hidden(first, second, transform.saved(predicted)), x


def _unflattened(flat: tuple[Tensor, ...]) -> list[Folded]:
    n = len(Folded._fields)
    return [Folded(*flat[i : i + n]) for i in range(0, len(flat), n)]

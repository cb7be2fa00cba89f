"""The steps of a level with the coupling network as matrix products: the map of `fused` in a form for GPUs.

cuDNN computes 3x3 convolutions of 6 to 48 channels at a small part of a GPU's speed (docs/results/gpu.md). Here a 3x3
convolution to many channels is a product of neighbourhoods and weights, and one to few channels is a product to nine
numbers a channel, one for each neighbour, and a sum of these (`neighbours`). A 1x1 convolution is a product anyway.

No weight's gradient depends on another's. So the backward pass first computes the gradients of the activations of
several steps, and then each kind of weight's gradient for all these steps in one batched product: the products of a
single step are too small to fill a GPU.

Pixels have their channels last here, (B, H, W, C), and `rows` are B H W. Lower-case k counts the K steps of a level.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.folding.compiled import folded_weights
from glow_pipeline.flow.fast.folding.factors import Weights
from glow_pipeline.flow.fast.folding.folded import inverse_matrices, transform_of
from glow_pipeline.flow.fast.neighbours import CENTRE, aligned, channels_first, channels_last, columns
from glow_pipeline.flow.fast.products import regions
from glow_pipeline.flow.fast.products.rows import products_of_rows
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.flow.transform import Transform

GROUP = 8  # steps whose weights' gradients are computed together, if their hidden layers are stored


class Kept(NamedTuple):
    """Tensors that the forward pass keeps of all steps; None: the backward pass computes them again."""

    y: Tensor | None  # (K + 1, B, H, W, C), the input of the first step and all outputs
    first: Tensor | None  # (K, rows, hidden), after the first ReLU
    second: Tensor | None  # after the second
    saved: list[tuple[Tensor, ...]]  # by the transform in each step, (B, C2, H, W) each; empty without hidden layers


def run(steps: Sequence[FlowStep], x: Tensor, execution: Execution) -> tuple[Tensor, Tensor]:
    """Compute all steps of a level: x (B, C, H, W) -> y of the same shape, logdet (B,), with gradients."""
    weights, log_abs_det = folded_weights(steps, execution, x.shape[2] * x.shape[3])
    y, logdet = Steps.apply(x, execution, transform_of(steps), *weights)
    return y, logdet + log_abs_det


# The forward pass -----------------------------------------------------------------------------


def _memory(shape: tuple[int, ...], weights: Weights, execution: Execution) -> Kept:
    """Allocate the tensors to keep of steps whose input has shape (B, H, W, C)."""
    steps, hidden = weights.weight1.shape[:2]
    rows = shape[0] * shape[1] * shape[2]
    y = None if execution.activations == "reversible" else weights.matrix.new_empty(steps + 1, *shape)
    if execution.activations != "stored":
        return Kept(y, None, None, [])
    first, second = (weights.weight1.new_empty(steps, rows, hidden) for _ in range(2))
    return Kept(y, first, second, [])


def _forward(
    x: Tensor, weights: Weights, transform: Transform, execution: Execution, kept: Kept
) -> tuple[Tensor, Tensor]:
    """Compute all steps: x (B, C, H, W) -> y of the same shape, logdet (B,); fill the memory of `kept`."""
    couple_ = execution.maybe_compiled(regions.couple_)
    y = channels_last(x).contiguous()
    logdet = x.new_zeros(len(x))
    if kept.y is not None:
        kept.y[0] = y
    for k in range(len(weights.matrix)):
        step = weights.step(k)
        mixed = torch.empty_like(y) if kept.y is None else kept.y[k + 1]
        torch.addmm(step.bias, y.flatten(0, 2), step.matrix.t(), out=mixed.flatten(0, 2))
        y = mixed
        y1, y2 = y.chunk(2, dim=3)
        if kept.first is None or kept.second is None:
            parts = _network(y1, step, execution)
            couple_(y2, logdet, parts, step.bias3, transform)
        else:
            parts = _network(y1, step, execution, kept.first[k], kept.second[k])
            kept.saved.append(couple_(y2, logdet, parts, step.bias3, transform))
    return channels_first(y), logdet


def _network(
    y1: Tensor, step: Weights, execution: Execution, first: Tensor | None = None, second: Tensor | None = None
) -> Tensor:
    """Compute a coupling network up to its last product: y1 (B, H, W, C1) -> (rows, columns of out).

    Args:
        first, second: memory for its hidden layers (rows, hidden).
    """
    inputs = execution.maybe_compiled(columns)(y1, step.weight1.dtype)
    shape = (len(inputs), step.weight1.shape[0])
    first = inputs.new_empty(shape) if first is None else first
    second = inputs.new_empty(shape) if second is None else second
    with execution.product_precision():
        torch._addmm_activation(step.bias1, inputs, step.weight1.t(), out=first)  # with the ReLU, as one kernel
        torch._addmm_activation(step.bias2, first, step.weight2.t(), out=second)
        return second @ step.weight3.t()


# The backward pass ----------------------------------------------------------------------------


class Steps(torch.autograd.Function):
    """The steps of a level as one node of autograd's graph."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, execution: Execution, transform: Transform, *flat: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, weights = x.detach(), Weights(*(tensor.detach() for tensor in flat))
        b, c, h, w = x.shape
        kept = _memory((b, h, w, c), weights, execution)
        y, logdet = _forward(x, weights, transform, execution, kept)
        ctx.save_for_backward(*weights, y, *kept[:3], *(tensor for saved in kept.saved for tensor in saved))
        ctx.execution, ctx.transform = execution, transform
        return y, logdet

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_logdet: Tensor) -> tuple[Tensor | None, ...]:
        tensors: tuple[Tensor, ...] = ctx.saved_tensors
        weights = Weights(*(tensor.detach() for tensor in tensors[: len(Weights._fields)]))
        y, kept_y, first, second, *saved = tensors[len(Weights._fields) :]
        steps = len(weights.matrix)
        a_step = len(saved) // steps
        kept = Kept(kept_y, first, second, [tuple(saved[k * a_step : (k + 1) * a_step]) for k in range(steps)])
        passed = BackwardPass(weights, channels_last(y.detach()), kept, ctx.execution, ctx.transform)
        grad = channels_last(grad_y).contiguous()
        size = GROUP if ctx.execution.activations == "stored" else 1
        groups: list[Weights] = []
        for end in range(steps, 0, -size):
            grad, gradients = passed.group(grad, grad_logdet, max(0, end - size), end)
            groups.insert(0, gradients)
        flat = [kind[0] if len(kind) == 1 else torch.cat(kind) for kind in zip(*groups, strict=True)]
        return channels_first(grad), None, None, *flat


class BackwardPass:
    """The backward pass through a level, from its last steps to its first.

    Args:
        weights: of all steps.
        y: output of the last step (B, H, W, C).
        kept: by the forward pass.
        execution, transform: as in the forward pass.
    """

    def __init__(self, weights: Weights, y: Tensor, kept: Kept, execution: Execution, transform: Transform) -> None:
        self.weights, self.y, self.kept, self.execution, self.transform = weights, y, kept, execution, transform
        self.inverses = inverse_matrices(weights.matrix) if execution.activations == "reversible" else None

    def group(self, grad: Tensor, grad_logdet: Tensor, start: int, end: int) -> tuple[Tensor, Weights]:
        """Compute the gradients of steps `start` to `end` - 1.

        Args:
            grad: gradient of the last one's output (B, H, W, C).
            grad_logdet: (B,).

        Returns:
            The gradient of the first one's input, and those of the weights of all of them.
        """
        n, low, compiled = end - start, self.weights.weight1.dtype, self.execution.maybe_compiled
        coupling_gradient, mixed_gradient = compiled(regions.coupling_gradient), compiled(regions.mixed_gradient)
        xs, ys, firsts, seconds = self._activations(start, end)
        grads_first, grads_second = torch.empty_like(firsts), torch.empty_like(seconds)
        grads_parts = firsts.new_empty(n, firsts.shape[1], self.weights.weight3.shape[1])
        grads_mixed = torch.empty_like(ys)
        for i in reversed(range(n)):
            step = self.weights.step(start + i)
            saved = self._saved(start + i, xs[i], ys[i], firsts[i], seconds[i])
            grad_y1, grad_y2 = grad.chunk(2, dim=3)
            y2 = ys[i].chunk(2, dim=3)[1]
            grad_x2 = coupling_gradient(grad_y2, grad_logdet, y2, saved, self.transform, grads_parts[i])
            with self.execution.product_precision():
                torch.mm(grads_parts[i], step.weight3, out=grads_second[i])
                _mask_(grads_second[i], seconds[i])
                torch.mm(grads_second[i], step.weight2, out=grads_first[i])
                _mask_(grads_first[i], firsts[i])
                grad_columns = grads_first[i] @ step.weight1
            mixed_gradient(grad_y1, grad_columns, grad_x2, grads_mixed[i])
            grad = (grads_mixed[i].flatten(0, 2) @ step.matrix).view(grad.shape)
        y1s = ys.chunk(2, dim=4)[0]
        inputs = compiled(regions.columns_of_steps)(y1s, low)
        rows_mixed = grads_mixed.flatten(1, 3)
        with self.execution.product_precision():
            of_weight1 = products_of_rows(grads_first, inputs)
            of_weight2 = products_of_rows(grads_second, firsts)
            of_weight3 = products_of_rows(grads_parts, seconds)
        return grad, Weights(
            products_of_rows(rows_mixed, xs.flatten(1, 3)),
            rows_mixed.sum(dim=1),
            of_weight1,
            of_weight1[:, :, 9 * y1s.shape[4]],  # that column of the inputs is 1
            of_weight2,
            grads_second.sum(dim=1),
            of_weight3,
            self._bias3_gradient(grads_parts),
        )

    def _activations(self, start: int, end: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return inputs and outputs of steps (n, B, H, W, C) and their hidden layers (n, rows, hidden).

        Tensors that were not kept are empty, for `_saved` to fill, and of one step at a time.
        """
        if self.kept.y is None:
            xs, ys = self.y.new_empty(1, *self.y.shape), self.y[None]
        else:
            xs, ys = self.kept.y[start:end], self.kept.y[start + 1 : end + 1]
        if self.kept.first is not None and self.kept.second is not None:
            return xs, ys, self.kept.first[start:end], self.kept.second[start:end]
        shape = (end - start, self.y[..., 0].numel(), self.weights.weight1.shape[1])
        return xs, ys, self.weights.weight1.new_empty(shape), self.weights.weight1.new_empty(shape)

    def _saved(self, k: int, x: Tensor, y: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Return what the transform saved in step k; if that was not kept, fill the hidden layers and x as well."""
        if self.kept.first is not None:
            return self.kept.saved[k]
        step, compiled = self.weights.step(k), self.execution.maybe_compiled
        y1, y2 = y.chunk(2, dim=3)
        parts = _network(y1, step, self.execution, first, second)
        if self.inverses is None:
            return compiled(regions.saved_by_transform)(y2, parts, step.bias3, self.transform)
        before, saved = compiled(regions.uncoupled)(y, parts, step.bias, step.bias3, self.transform)
        torch.mm(before.flatten(0, 2), self.inverses[k].t(), out=x.flatten(0, 2))
        self.y = x
        return saved

    def _bias3_gradient(self, grads_parts: Tensor) -> Tensor:
        """Return the gradient (n, aligned out): the columns of the pixel itself hold that of the network's output."""
        out = self.transform.outputs_per_channel * (self.y.shape[3] // 2)
        summed = grads_parts[..., CENTRE * out : (CENTRE + 1) * out].sum(dim=1)
        return F.pad(summed, (0, aligned(out) - out))


def _mask_(grad: Tensor, hidden: Tensor) -> None:
    """Turn the gradient of a ReLU's output into that of its input, in place."""
    torch.ops.aten.threshold_backward.grad_input(grad, hidden, 0, grad_input=grad)

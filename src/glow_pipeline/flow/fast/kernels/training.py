"""A training step's pass through a level by kernels: one node of autograd's graph, as `products` has it."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.folding.compiled import folded_weights
from glow_pipeline.flow.fast.folding.factors import Weights
from glow_pipeline.flow.fast.folding.folded import transform_of
from glow_pipeline.flow.fast.kernels.backward import Kept, activation_gradients
from glow_pipeline.flow.fast.kernels.forward import forward
from glow_pipeline.flow.fast.kernels.kinds import interpreted
from glow_pipeline.flow.fast.kernels.weight_gradients import weight_gradients
from glow_pipeline.flow.fast.neighbours import channels_first, channels_last
from glow_pipeline.flow.fast.products.level import GROUP
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.flow.transform import Transform

# How tensor cores multiply factors of float32: in several products of TF32 or bfloat16. Three of TF32 are about as
# exact as float32's own; three of bfloat16 are more exact than one of TF32, to which Triton truncates factors without
# rounding. The six of bfloat16 that `level` has were not tried here. The interpreter has float32's own products only.
EXACT: Final = "ieee" if interpreted() else "tf32x3"
OF_NETWORK: Final = {"float32": EXACT, "tf32": EXACT if interpreted() else "bf16x3", "bfloat16": EXACT}


def run(steps: Sequence[FlowStep], x: Tensor, execution: Execution) -> tuple[Tensor, Tensor]:
    """Compute all steps of a level: x (B, C, H, W) -> y of the same shape, logdet (B,)."""
    weights, log_abs_det = folded_weights(steps, execution, x.shape[2] * x.shape[3])
    y, logdet = Steps.apply(x, execution, transform_of(steps), *weights)
    return y, logdet + log_abs_det


class Steps(torch.autograd.Function):
    """The steps of a level as one node of autograd's graph."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, execution: Execution, transform: Transform, *flat: Tensor
    ) -> tuple[Tensor, Tensor]:
        weights = Weights(*(tensor.detach().contiguous() for tensor in flat))
        passed = forward(
            channels_last(x.detach()).contiguous(),
            weights,
            transform,
            OF_NETWORK[execution.precision],
            EXACT,
            keep=True,
            keep_hidden=execution.activations == "stored",
        )
        ctx.save_for_backward(*weights, passed.states, passed.scales, passed.first, passed.second)
        ctx.execution, ctx.transform = execution, transform
        return channels_first(passed.states[-1]), passed.log_scale.sum(dim=(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_logdet: Tensor) -> tuple[Tensor | None, ...]:
        *flat, states, scales, first, second = ctx.saved_tensors
        transform, weights = ctx.transform, Weights(*flat)
        precision = OF_NETWORK[ctx.execution.precision]
        grad = channels_last(grad_y).clone(memory_format=torch.contiguous_format)  # a copy, since it is overwritten
        grad_logdet = grad_logdet.contiguous()
        size = GROUP if first is not None else 1
        groups: list[Weights] = []
        for end in range(len(weights.matrix), 0, -size):
            start = max(0, end - size)
            own = Weights(*(tensor[start:end] for tensor in weights))
            if first is not None:
                kept = Kept(states, scales, first, second).steps(start, end)
            else:
                kept = _kept(states[start], own, transform, precision)
            gradients = activation_gradients(grad, grad_logdet, kept, own, transform, precision, EXACT)
            groups.insert(0, weight_gradients(gradients, kept, own, transform, precision, EXACT))
        kinds = [kind[0] if len(kind) == 1 else torch.cat(kind) for kind in zip(*groups, strict=True)]
        return channels_first(grad), None, None, *kinds


def _kept(x: Tensor, weights: Weights, transform: Transform, precision: str) -> Kept:
    """Compute steps again from their input (B, H, W, C)."""
    passed = forward(x, weights, transform, precision, EXACT, keep=True, keep_hidden=True)
    assert passed.first is not None
    assert passed.second is not None
    return Kept(passed.states, passed.scales, passed.first, passed.second)

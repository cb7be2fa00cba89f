"""The passes of the fast path, and which of its forms computes a level in each.

    kernels   a level as one kernel: where a GPU has them (`kernels/support.py`), without gradients, or in a training
              step with `Execution.products` that is not reversible
    products  otherwise in a training step with `Execution.products`
    fused     otherwise

The kernels are imported where they are called, because they need Triton.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from glow_pipeline.flow.fast import fused
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.folding.prepared import Prepared
from glow_pipeline.flow.fast.kernels import support
from glow_pipeline.flow.fast.products import level as products
from glow_pipeline.flow.fast.products.between_levels import split_and_squeezed, squeezed
from glow_pipeline.flow.prior import SplitPrior
from glow_pipeline.flow.step import FlowStep

# A level: `steps`, their folded parameters `level`, and the options of the pass ----------------


def forward(steps: Sequence[FlowStep], level: Prepared, x: Tensor, execution: Execution) -> tuple[Tensor, Tensor]:
    """Compute all steps of a level: x (B, C, H, W), channels last in memory -> y of the same shape, logdet (B,)."""
    if not torch.is_grad_enabled() and support.usable(execution, x, steps):
        from glow_pipeline.flow.fast.kernels import level as kernels

        return kernels.run(level, x)
    return fused.run(level, x, execution)


def traced(
    steps: Sequence[FlowStep], level: Prepared, x: Tensor, execution: Execution
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `forward` without gradients, and the couplings' log-scales summed over steps and channels, (B, H, W)."""
    if support.usable(execution, x, steps):
        from glow_pipeline.flow.fast.kernels import level as kernels

        return kernels.traced(level, x)
    return fused.run_traced(level, x)


def inverse(steps: Sequence[FlowStep], level: Prepared, y: Tensor, execution: Execution) -> Tensor:
    """Compute the inverse of `forward`."""
    if not torch.is_grad_enabled() and support.usable(execution, y, steps, "inverse"):
        from glow_pipeline.flow.fast.kernels import level as kernels

        return kernels.inverse(level, y)
    return fused.inverse(level, y)


# A training step with products -----------------------------------------------------------------


def to_top(
    levels: Sequence[Sequence[FlowStep]], splits: Sequence[SplitPrior], x: Tensor, execution: Execution
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Compute all levels, with gradients: x (B, C, H, W) -> eps, z and logdet (B,) of `Glow.to_top`.

    Args:
        levels: the steps of each level.
        splits: the priors between them.
        x: dequantized images.
        execution: options of the pass.
    """
    eps = []
    z, logdet = _trained(levels[0], execution.maybe_compiled(squeezed)(x), execution)
    for split, steps in zip(splits, levels[1:], strict=True):
        network = split.network
        z, eps_split, logdet = execution.maybe_compiled(split_and_squeezed)(
            z, logdet, network.conv.weight, cast(Tensor, network.conv.bias), network.log_scale
        )
        z, level_logdet = _trained(steps, z, execution)
        eps.append(eps_split)
        logdet = logdet + level_logdet
    return eps, z, logdet


def _trained(steps: Sequence[FlowStep], x: Tensor, execution: Execution) -> tuple[Tensor, Tensor]:
    """Compute all steps of a level: x (B, C, H, W) -> y of the same shape, logdet (B,)."""
    if execution.activations != "reversible" and support.usable(execution, x, steps, "training"):
        from glow_pipeline.flow.fast.kernels import training

        return training.run(steps, x, execution)
    return products.run(steps, x, execution)

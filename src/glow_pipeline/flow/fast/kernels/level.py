"""All steps of a level without gradients: what `fused` computes, by the kernels."""

import torch
from torch import Tensor

from glow_pipeline.flow.fast.folding.prepared import Prepared
from glow_pipeline.flow.fast.kernels.forward import forward
from glow_pipeline.flow.fast.kernels.inverse import inverse as inverted
from glow_pipeline.flow.fast.kernels.support import interpreted
from glow_pipeline.flow.fast.neighbours import channels_first

# Of products of float32 factors: each factor as the sum of three of bfloat16, which tensor cores multiply. These are as
# exact as float32's own products, for which a GPU has no tensor cores. The interpreter has float32's own only.
EXACT = "ieee" if interpreted() else "bf16x6"


def run(level: Prepared, x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute all steps of a level: x (B, C, H, W) -> y of the same shape, logdet (B,)."""
    y, logdet, _ = traced(level, x)
    return y, logdet


def traced(level: Prepared, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `run`, and the couplings' log-scales summed over steps and channels, (B, H, W)."""
    passed = forward(_channels_last(x), level.factors, level.transform, EXACT, EXACT)
    logdet = passed.log_scale.sum(dim=(1, 2)) + level.log_abs_det * (x.shape[2] * x.shape[3])
    return channels_first(passed.states[-1]), logdet, passed.log_scale


def inverse(level: Prepared, y: Tensor) -> Tensor:
    """Compute the inverse of `run`."""
    inverses = torch.stack(level.inverse_matrices)
    return channels_first(inverted(_channels_last(y), level.factors, inverses, level.transform, EXACT))


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()

"""All steps of a level without gradients: what `fused` computes, by the kernels."""

import torch
from torch import Tensor

from glow_pipeline.flow.fast.folding.prepared import Prepared
from glow_pipeline.flow.fast.kernels.forward import forward
from glow_pipeline.flow.fast.kernels.inverse import inverse as inverted
from glow_pipeline.flow.fast.kernels.kinds import interpreted
from glow_pipeline.flow.fast.neighbours import channels_first, channels_last

# Of products of float32 factors: each factor as the sum of three of bfloat16, which tensor cores multiply. These are as
# exact as float32's own products, for which a GPU has no tensor cores. Three products of TF32 took 11.0 ms where these
# took 8.3, at 12x16x16 on an H200, and as long at smaller levels. The interpreter has float32's own only.
EXACT = "ieee" if interpreted() else "bf16x6"


def run(level: Prepared, x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute all steps of a level: x (B, C, H, W) -> y of the same shape, logdet (B,)."""
    y, logdet, _ = traced(level, x)
    return y, logdet


def traced(level: Prepared, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `run`, and the couplings' log-scales summed over steps and channels, (B, H, W)."""
    passed = forward(channels_last(x).contiguous(), level.factors, level.transform, EXACT, EXACT)
    logdet = passed.log_scale.sum(dim=(1, 2)) + level.log_abs_det * (x.shape[2] * x.shape[3])
    return channels_first(passed.states[-1]), logdet, passed.log_scale


def inverse(level: Prepared, y: Tensor) -> Tensor:
    """Compute the inverse of `run`."""
    inverses = torch.stack(level.inverse_matrices)
    x = inverted(channels_last(y).contiguous(), level.factors, inverses, level.transform, EXACT)
    return channels_first(x)

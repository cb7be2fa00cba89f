"""One step of flow: actnorm, permutation, coupling (Glow, figure 2a)."""

from typing import Literal

import torch
from torch import Tensor, nn

from glow_pipeline.flow.actnorm import ActNorm
from glow_pipeline.flow.coupling import COUPLINGS
from glow_pipeline.flow.permutation import (
    FixedPermutation,
    InvertibleConv,
    LUInvertibleConv,
    reverse,
    shuffle,
)

FlowPermutation = Literal["invconv", "shuffle", "reverse"]


class FlowStep(nn.Module):
    """A bijection (B, C, H, W) -> the same shape, with logdet (B,). Its arguments are those of `Glow`."""

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        *,
        actnorm_scale: float = 1.0,
        flow_permutation: FlowPermutation = "invconv",
        flow_coupling: str = "affine",
        scale_floor: float = 0.0,
        LU_decomposed: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels, actnorm_scale)
        self.permutation = _permutation(flow_permutation, channels, LU_decomposed, generator)
        self.coupling = COUPLINGS[flow_coupling](
            channels,
            hidden_channels,
            actnorm_scale=actnorm_scale,
            scale_floor=scale_floor,
            generator=generator,
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, actnorm_logdet = self.actnorm(x)
        x, permutation_logdet = self.permutation(x)
        x, coupling_logdet = self.coupling(x)
        return x, actnorm_logdet + permutation_logdet + coupling_logdet

    def inverse(self, y: Tensor) -> Tensor:
        return self.actnorm.inverse(self.permutation.inverse(self.coupling.inverse(y)))


def _permutation(
    kind: FlowPermutation, channels: int, LU_decomposed: bool, generator: torch.Generator | None
) -> FixedPermutation | InvertibleConv:
    match kind:
        case "reverse":
            return reverse(channels)
        case "shuffle":
            return shuffle(channels, generator)
        case "invconv":
            conv = LUInvertibleConv if LU_decomposed else InvertibleConv
            return conv(channels, generator)

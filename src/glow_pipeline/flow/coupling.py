"""Couplings: half of the channels decide how the other half changes (Glow, section 3.3).

The class of a coupling decides which code trains it, scores and samples with it (`is_foldable`):

- of a `FoldableCoupling`, which is a `CouplingNetwork` with a `Transform`, the fast path: `fast/folding` folds the
  network, and `fast/fused.py` or, on a GPU, `fast/products` calls the methods of the transform. `fast/kernels` has the
  two transforms of this package in a form of its own, for GPUs. `forward` and `inverse` of the class compute the same
  map in plain layers, for initialisation and for tests;
- of any other `Coupling`, also of a foldable one with a `forward` or `inverse` of its own, these two methods.

A new coupling is a class here or in a file of its own, and a line in `COUPLINGS` (docs/extending.md).
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glow_pipeline.flow.actnorm import ActNorm
from glow_pipeline.flow.transform import Shift, ShiftAndScale, Transform


class ZeroConv(nn.Module):
    """3x3 convolution that starts at zero, times a learned exp(3 * log_scale) a channel (Glow, section 3.3).

    Starting at zero makes every coupling (and every learned prior) start as the identity.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(cast(Tensor, self.conv.bias))
        self.log_scale = nn.Parameter(torch.zeros(1, out_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * torch.exp(3 * self.log_scale)


class CouplingNetwork(nn.Module):
    """3x3, 1x1 and 3x3 convolutions with actnorm and ReLU between: (B, in, H, W) -> (B, out, H, W).

    `fast/folding` reads its parameters, `fast/fused.py`, `fast/products` and `fast/kernels` compute it: a change here
    is a change there too.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        actnorm_scale: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        # No biases: the actnorms behind these convolutions have them.
        self.conv1 = nn.Conv2d(in_channels, hidden_channels, 3, padding=1, bias=False)
        self.actnorm1 = ActNorm(hidden_channels, actnorm_scale)
        self.conv2 = nn.Conv2d(hidden_channels, hidden_channels, 1, bias=False)
        self.actnorm2 = ActNorm(hidden_channels, actnorm_scale)
        self.conv3 = ZeroConv(hidden_channels, out_channels)
        for conv in (self.conv1, self.conv2):
            nn.init.normal_(conv.weight, std=0.05, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.actnorm1(self.conv1(x))[0])
        x = F.relu(self.actnorm2(self.conv2(x))[0])
        return self.conv3(x)


class Coupling(nn.Module):
    """Base class of the couplings: a bijection of (B, C, H, W) whose shape does not change.

    A step of flow builds each of them with the same arguments:

        channels: C of the input.
        hidden_channels: width of its network.
        actnorm_scale: standard deviation that actnorms give their channels at initialisation.
        scale_floor: below this it does not scale; a coupling without a scale refuses any but 0 with a ValueError.
        generator: draws the starting weights; None takes torch's global generator.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> the same shape, and logdet (B,)."""
        raise NotImplementedError

    def inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError


class FoldableCoupling(Coupling):
    """The first half of the channels passes, and its network says how `transform` changes the second half.

    A subclass chooses the transform, and leaves `forward` and `inverse` as they are.
    """

    def __init__(
        self,
        transform: Transform,
        channels: int,
        hidden_channels: int,
        actnorm_scale: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.transform = transform
        self.split_sizes = [channels // 2, channels - channels // 2]
        out_channels = transform.outputs_per_channel * self.split_sizes[1]
        self.network = CouplingNetwork(self.split_sizes[0], hidden_channels, out_channels, actnorm_scale, generator)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = x.split(self.split_sizes, dim=1)
        y2 = x2.clone()
        logdet, _ = self.transform.forward_(y2, self.network(x1))
        return torch.cat([x1, y2], dim=1), logdet

    def inverse(self, y: Tensor) -> Tensor:
        y1, y2 = y.split(self.split_sizes, dim=1)
        return torch.cat([y1, self.transform.inverse(y2, self.network(y1))], dim=1)


class AdditiveCoupling(FoldableCoupling):
    """y2 = x2 + t(x1); volume-preserving, logdet 0 (NICE, arXiv:1410.8516)."""

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        *,
        actnorm_scale: float = 1.0,
        scale_floor: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        if scale_floor:
            raise ValueError(f"scale_floor={scale_floor}: an additive coupling has no scale")
        super().__init__(Shift(), channels, hidden_channels, actnorm_scale, generator)


class AffineCoupling(FoldableCoupling):
    """y2 = (x2 + t(x1)) * scale, scale = sigmoid(s(x1) + 2); logdet = sum log scale (RealNVP, arXiv:1605.08803).

    With a floor the scale is floor + (1 - floor) * sigmoid(s + 2): the inverse then expands by at most 1 / floor, where
    it otherwise has no bound and can leave what floats can undo (exploding inverses, arXiv:2006.09347).
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        *,
        actnorm_scale: float = 1.0,
        scale_floor: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(ShiftAndScale(scale_floor), channels, hidden_channels, actnorm_scale, generator)
        self.scale_floor = scale_floor


COUPLINGS: dict[str, type[Coupling]] = {
    "affine": AffineCoupling,
    "additive": AdditiveCoupling,
}
"""The choices of `model.flow_coupling`."""


def is_foldable(coupling: type[Coupling]) -> bool:
    """Return whether the fast path computes this coupling; it trains by its `forward` otherwise."""
    return (
        issubclass(coupling, FoldableCoupling)
        and coupling.forward is FoldableCoupling.forward
        and coupling.inverse is FoldableCoupling.inverse
    )

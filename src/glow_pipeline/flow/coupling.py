"""Coupling: half of the channels decide how the other half is scaled and shifted (Glow, section 3.3)."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glow_pipeline.flow.actnorm import ActNorm


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
    """3x3, 1x1 and 3x3 convolutions with actnorm and ReLU between: (B, in, H, W) -> (B, out, H, W)."""

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


def affine_scale(s: Tensor, floor: float) -> Tensor:
    """floor + (1 - floor) * sigmoid(s + 2), any shape: from the floor to 1."""
    scale = torch.sigmoid(s + 2)
    return scale if floor == 0 else floor + (1 - floor) * scale


def log_affine_scale(s: Tensor, floor: float) -> Tensor:
    """The logarithm of `affine_scale`; finite where the scale itself would underflow to 0."""
    return F.logsigmoid(s + 2) if floor == 0 else affine_scale(s, floor).log()


class AdditiveCoupling(nn.Module):
    """y2 = x2 + t(x1); volume-preserving, logdet 0 (NICE, arXiv:1410.8516)."""

    scale_floor = None  # it has no scale

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        actnorm_scale: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.split_sizes = [channels // 2, channels - channels // 2]
        self.network = CouplingNetwork(
            self.split_sizes[0], hidden_channels, self.split_sizes[1], actnorm_scale, generator
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = x.split(self.split_sizes, dim=1)
        return torch.cat([x1, x2 + self.network(x1)], dim=1), x.new_zeros(x.shape[0])

    def inverse(self, y: Tensor) -> Tensor:
        y1, y2 = y.split(self.split_sizes, dim=1)
        return torch.cat([y1, y2 - self.network(y1)], dim=1)


class AffineCoupling(nn.Module):
    """y2 = (x2 + t(x1)) * scale, scale = sigmoid(s(x1) + 2); logdet = sum log scale (RealNVP, arXiv:1605.08803).

    With a floor the scale is floor + (1 - floor) * sigmoid(s + 2): the inverse then expands by at most 1 / floor, where
    it otherwise has no bound and can leave what floats can undo (exploding inverses, arXiv:2006.09347).

    The shift comes before the scale: a small scale then multiplies the rounding error of the sum
    too, and the inverse gives x2 back as exactly as the sum held it.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        actnorm_scale: float = 1.0,
        generator: torch.Generator | None = None,
        scale_floor: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= scale_floor < 1:
            raise ValueError(f"scale_floor={scale_floor}: should be at least 0 and less than 1")
        self.scale_floor = scale_floor
        self.split_sizes = [channels // 2, channels - channels // 2]
        self.network = CouplingNetwork(
            self.split_sizes[0], hidden_channels, 2 * self.split_sizes[1], actnorm_scale, generator
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = x.split(self.split_sizes, dim=1)
        shift, s = self.network(x1).chunk(2, dim=1)
        log_scale = log_affine_scale(s, self.scale_floor)
        y2 = (x2 + shift) * log_scale.exp()
        return torch.cat([x1, y2], dim=1), log_scale.flatten(1).sum(dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        y1, y2 = y.split(self.split_sizes, dim=1)
        shift, s = self.network(y1).chunk(2, dim=1)
        return torch.cat([y1, y2 * torch.exp(-log_affine_scale(s, self.scale_floor)) - shift], dim=1)

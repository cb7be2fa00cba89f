"""Transforms of couplings: how half of the channels change, given the numbers that a network predicts from the others.

The plain layers and the fast path call the same methods; `backward` is for the fast path, which has no autograd. Only
the kernels of `fast/kernels` have `Shift` and `ShiftAndScale` in code of their own.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Transform(Protocol):
    """An elementwise bijection of a coupling's second half, given the output of the coupling's network.

    A frozen dataclass without tensors, because torch.compile takes it for a constant.

    Attributes:
        outputs_per_channel: numbers that the network predicts for each channel of the second half; `predicted` below
            is (B, outputs_per_channel * C2, H, W).
    """

    @property
    def outputs_per_channel(self) -> int: ...

    def forward_(self, x2: Tensor, predicted: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Overwrite x2 (B, C2, H, W) with y2; return logdet (B,), and the tensors that `backward` needs."""
        ...

    def inverse(self, y2: Tensor, predicted: Tensor) -> Tensor:
        """Return x2 (B, C2, H, W)."""
        ...

    def saved(self, predicted: Tensor) -> tuple[Tensor, ...]:
        """Compute the tensors that `backward` needs again, without x2."""
        ...

    def backward(
        self, grad_y2: Tensor, grad_logdet: Tensor, y2: Tensor, saved: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of x2 and of `predicted`; grad_logdet is (B,)."""
        ...

    def log_scale(self, saved: tuple[Tensor, ...]) -> Tensor | None:
        """Return log |dy2/dx2| of each element (B, C2, H, W), whose sum is logdet; None if it is 0 everywhere."""
        ...


@dataclass(frozen=True)
class Shift:
    """y2 = x2 + t; logdet 0."""

    outputs_per_channel = 1

    def forward_(self, x2: Tensor, predicted: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x2 += predicted
        return x2.new_zeros(x2.shape[0]), ()

    def inverse(self, y2: Tensor, predicted: Tensor) -> Tensor:
        return y2 - predicted

    def saved(self, predicted: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002  # the gradient needs nothing
        return ()

    def backward(
        self,
        grad_y2: Tensor,
        grad_logdet: Tensor,  # noqa: ARG002  # logdet is constant
        y2: Tensor,  # noqa: ARG002
        saved: tuple[Tensor, ...],  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        return grad_y2, grad_y2

    def log_scale(self, saved: tuple[Tensor, ...]) -> None:  # noqa: ARG002
        return None


@dataclass(frozen=True)
class ShiftAndScale:
    """y2 = (x2 + t) * scale, scale = floor + (1 - floor) * sigmoid(s + 2); logdet = sum log scale.

    The shift comes before the scale: a small scale then multiplies the rounding error of the sum too, and the inverse
    gives x2 back as exactly as the sum held it.
    """

    scale_floor: float = 0.0
    outputs_per_channel = 2

    def __post_init__(self) -> None:
        if not 0 <= self.scale_floor < 1:
            raise ValueError(f"scale_floor={self.scale_floor}: should be at least 0 and less than 1")

    def forward_(self, x2: Tensor, predicted: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        shift, s = predicted.chunk(2, dim=1)
        log_scale = log_affine_scale(s, self.scale_floor)
        scale = log_scale.exp()
        x2.add_(shift).mul_(scale)
        return log_scale.sum(dim=(1, 2, 3)), (scale,)

    def inverse(self, y2: Tensor, predicted: Tensor) -> Tensor:
        shift, s = predicted.chunk(2, dim=1)
        return y2 * torch.exp(-log_affine_scale(s, self.scale_floor)) - shift

    def saved(self, predicted: Tensor) -> tuple[Tensor, ...]:
        return (affine_scale(predicted.chunk(2, dim=1)[1], self.scale_floor),)

    def backward(
        self, grad_y2: Tensor, grad_logdet: Tensor, y2: Tensor, saved: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of x2 and of `predicted`.

        dy2/ds = y2 * d and dlogdet/ds = d, where d = dlog(scale)/ds. It is 1 - scale for scale = sigmoid(s + 2), and
        (1 - scale) (1 - floor / scale) / (1 - floor) with a floor.
        """
        (scale,) = saved
        grad_x2 = grad_y2 * scale
        grad_s = torch.addcmul(grad_logdet[:, None, None, None], grad_y2, y2) * (1 - scale)
        if self.scale_floor:
            grad_s = grad_s * (1 - self.scale_floor / scale) / (1 - self.scale_floor)
        return grad_x2, torch.cat([grad_x2, grad_s], dim=1)

    def log_scale(self, saved: tuple[Tensor, ...]) -> Tensor:
        return saved[0].clamp_min(torch.finfo(saved[0].dtype).tiny).log()  # a scale may underflow to 0


def affine_scale(s: Tensor, floor: float) -> Tensor:
    """Return floor + (1 - floor) * sigmoid(s + 2), any shape: from the floor to 1."""
    scale = torch.sigmoid(s + 2)
    return scale if floor == 0 else floor + (1 - floor) * scale


def log_affine_scale(s: Tensor, floor: float) -> Tensor:
    """Return the logarithm of `affine_scale`; finite where the scale itself would underflow to 0."""
    return F.logsigmoid(s + 2) if floor == 0 else affine_scale(s, floor).log()

"""Mixing of channels between couplings: a learned 1x1 convolution or a fixed permutation (Glow, section 3.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glow_pipeline.flow.float64 import float64_device


class FixedPermutation(nn.Module):
    """y[:, i] = x[:, order[i]]; logdet 0. `order` (C,) is a buffer, so it is saved with the model."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, self.order], x.new_zeros(x.shape[0])

    def inverse(self, y: Tensor) -> Tensor:
        return y[:, torch.argsort(self.order)]

    def matrix(self) -> Tensor:
        """Return the permutation as a matrix (C, C), in torch's default dtype."""
        return torch.eye(len(self.order), device=self.order.device)[self.order]


def reverse(channels: int) -> FixedPermutation:
    """Return the layer that puts the channels in the opposite order."""
    return FixedPermutation(torch.arange(channels - 1, -1, -1))


def shuffle(channels: int, generator: torch.Generator | None = None) -> FixedPermutation:
    """Return a layer that puts the channels in a random order, drawn once."""
    return FixedPermutation(torch.randperm(channels, generator=generator))


class InvertibleConv(nn.Module):
    """1x1 convolution with a (C, C) matrix W that starts as a random rotation; logdet = H W log|det W|."""

    def __init__(self, channels: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(_random_rotation(channels, generator))

    def matrix(self) -> Tensor:
        """Return W (C, C)."""
        return self.weight

    def log_abs_det(self) -> Tensor:
        """Return log|det W|, a scalar."""
        return torch.linalg.slogdet(_where_factorized(self.weight)).logabsdet.to(self.weight.device)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_abs_det() * (x.shape[2] * x.shape[3])
        return _conv1x1(x, self.matrix()), logdet.expand(x.shape[0])

    def inverse(self, y: Tensor) -> Tensor:
        # In float64, and on the CPU because not every device has float64: C is small, and rounding the inverse in
        # float32 at each step would be the largest error of a round trip.
        inverse = torch.linalg.inv(self.matrix().detach().cpu().double())
        return _conv1x1(y, inverse.to(y))


class LUInvertibleConv(InvertibleConv):
    """An `InvertibleConv` with W = P L (U + diag(s)), whose log|det W| is the sum of log|s| (Glow, eq. 10).

    P (as an order of rows) and the signs of s are buffers that do not change after the start.
    """

    row_order: Tensor
    sign_s: Tensor

    def __init__(self, channels: int, generator: torch.Generator | None = None) -> None:
        nn.Module.__init__(self)
        permutation, lower, upper = torch.linalg.lu(_random_rotation(channels, generator))
        diagonal = upper.diagonal()
        self.register_buffer("row_order", permutation.argmax(dim=1))
        self.register_buffer("sign_s", diagonal.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_s = nn.Parameter(diagonal.abs().log())

    def matrix(self) -> Tensor:
        identity = torch.eye(len(self.log_s), dtype=self.log_s.dtype, device=self.log_s.device)
        lower = self.lower.tril(-1) + identity
        upper = self.upper.triu(1) + torch.diag(self.sign_s * self.log_s.exp())
        return (lower @ upper)[self.row_order]

    def log_abs_det(self) -> Tensor:
        return self.log_s.sum()


def log_abs_dets(permutations: Sequence[FixedPermutation | InvertibleConv]) -> Tensor | float:
    """Return the sum of log|det W| of several layers of one class; their determinants are computed together."""
    convs = [each for each in permutations if isinstance(each, InvertibleConv)]
    if not convs:
        return 0.0
    if isinstance(convs[0], LUInvertibleConv):
        return torch.stack([conv.log_abs_det() for conv in convs]).sum()
    matrices = torch.stack([conv.matrix() for conv in convs])
    parts = [torch.linalg.slogdet(part).logabsdet for part in factorized_at_once(_where_factorized(matrices))]
    return torch.cat(parts).sum().to(matrices.device)


def _where_factorized(matrices: Tensor) -> Tensor:
    return matrices.to(float64_device(matrices.device))


def factorized_at_once(matrices: Tensor) -> tuple[Tensor, ...]:
    """Split matrices (K, C, C) into the parts that a GPU factorizes without making the host wait.

    torch 2.11 hands other batches to MAGMA, which waits for the device and cannot be captured in a CUDA graph: those
    of C > 16 with more than 16 matrices, and those of C > 128 with more than one.
    """
    count, channels = matrices.shape[:2]
    if channels <= 16:
        return (matrices,)
    return matrices.tensor_split(-(-count // (16 if channels <= 128 else 1)))


def _random_rotation(channels: int, generator: torch.Generator | None) -> Tensor:
    gaussian = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    # Contiguous, because qr returns a column-major matrix, and strides can change the last bits of a result.
    return torch.linalg.qr(gaussian).Q.to(torch.get_default_dtype()).contiguous()


def _conv1x1(x: Tensor, matrix: Tensor) -> Tensor:
    return F.conv2d(x, matrix[:, :, None, None])

"""Squeeze and split between the levels of a training step on a GPU, a compiled region each.

The 3x3 convolution of a split's prior is a product of neighbourhoods as well, because cuDNN computes one of so few
channels at a small part of a GPU's speed.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from glow_pipeline.flow.fast.neighbours import channels_first, channels_last, column_count, columns, columns_backward
from glow_pipeline.flow.fast.products.rows import products_of_rows


def squeezed(x: Tensor) -> Tensor:
    """Return the input of a level's steps: (B, C, H, W) -> (B, 4 C, H / 2, W / 2), channels last in memory."""
    return F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)


def split_and_squeezed(
    z: Tensor, logdet: Tensor, weight: Tensor, bias: Tensor, log_scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Split the output of a level.

    Args:
        z: (B, C, H, W), channels last in memory.
        logdet: (B,), of the levels before.
        weight, bias, log_scale: of the prior's network.

    Returns:
        The input of the next level's steps (B, 2 C, H / 2, W / 2), eps (B, C / 2, H, W), and logdet (B,) with that of
        the split.
    """
    z1, z2 = z.chunk(2, dim=1)
    rows: Tensor = _Convolution.apply(channels_last(z1), _factors(weight, bias, log_scale))
    predicted = channels_first(rows.view(z.shape[0], z.shape[2], z.shape[3], z.shape[1]))
    mean, log_sd = predicted.chunk(2, dim=1)
    return squeezed(z1), (z2 - mean) * torch.exp(-log_sd), logdet - log_sd.sum(dim=(1, 2, 3))


def _factors(weight: Tensor, bias: Tensor, log_scale: Tensor) -> Tensor:
    """Return a `ZeroConv` as factors (out, columns) of columns, whose first further column is the bias's."""
    out, c = weight.shape[:2]
    scale = torch.exp(3 * log_scale).view(out, 1)
    # Scaled before they are joined, so that their gradients are tensors of their own, not to be copied.
    factors = torch.cat([weight.permute(0, 2, 3, 1).reshape(out, 9 * c) * scale, bias[:, None] * scale], dim=1)
    return F.pad(factors, (0, column_count(c) - 9 * c - 1))


class _Convolution(torch.autograd.Function):
    """A 3x3 convolution as a product: x (B, H, W, c) and factors (out, columns) -> (B H W, out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factors: Tensor) -> Tensor:
        ctx.save_for_backward(x, factors)
        return columns(x, x.dtype) @ factors.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, factors = ctx.saved_tensors
        b, h, w, c = x.shape
        grad_x = columns_backward(grad @ factors, (b, h, w, c), x.dtype)
        return grad_x, products_of_rows(grad[None], columns(x, x.dtype)[None])[0]

"""Parts of the product form that torch.compile turns into one to three kernels each.

Pixels have their channels last here, (B, H, W, C). `out` is memory for the result.
"""

import torch
from torch import Tensor

from glow_pipeline.flow.fast.neighbours import (
    channels_first,
    channels_last,
    column_count,
    columns,
    columns_backward,
    neighbour_sum,
    neighbour_sum_backward,
)
from glow_pipeline.flow.transform import Transform


def couple_(y2: Tensor, logdet: Tensor, parts: Tensor, bias3: Tensor, transform: Transform) -> tuple[Tensor, ...]:
    """Transform y2 (B, H, W, C2) in place and add to logdet (B,); return what the transform saves."""
    added, saved = transform.forward_(channels_first(y2), _predicted(y2, parts, bias3, transform))
    logdet += added
    return saved


def saved_by_transform(y2: Tensor, parts: Tensor, bias3: Tensor, transform: Transform) -> tuple[Tensor, ...]:
    """Compute what the transform saves, without x2."""
    return transform.saved(_predicted(y2, parts, bias3, transform))


def uncoupled(
    y: Tensor, parts: Tensor, bias: Tensor, bias3: Tensor, transform: Transform
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Undo the coupling, and the bias before it: return (B, H, W, C), and what the transform saves."""
    y1, y2 = y.chunk(2, dim=3)
    predicted = _predicted(y2, parts, bias3, transform)
    x2 = channels_last(transform.inverse(channels_first(y2), predicted))
    return torch.cat([y1, x2], dim=3) - bias, transform.saved(predicted)


def _predicted(y2: Tensor, parts: Tensor, bias3: Tensor, transform: Transform) -> Tensor:
    """Return the output of the network (B, out, H, W) in the dtype of y2."""
    b, h, w, c2 = y2.shape
    out = transform.outputs_per_channel * c2
    return channels_first(neighbour_sum(parts, (b, h, w, out), y2.dtype) + bias3[:out].to(y2.dtype))


def coupling_gradient(
    grad_y2: Tensor, grad_logdet: Tensor, y2: Tensor, saved: tuple[Tensor, ...], transform: Transform, out: Tensor
) -> Tensor:
    """Write the gradient of the network's last product to `out`; return that of x2 (B, H, W, C2)."""
    grad_x2, grad_predicted = transform.backward(channels_first(grad_y2), grad_logdet, channels_first(y2), saved)
    out.copy_(neighbour_sum_backward(channels_last(grad_predicted), out.dtype))
    return channels_last(grad_x2).contiguous()


def mixed_gradient(grad_y1: Tensor, grad_columns: Tensor, grad_x2: Tensor, out: Tensor) -> None:
    """Write the gradient of the input of the coupling (B, H, W, C) to `out`."""
    b, h, w, c1 = grad_y1.shape
    grad_x1 = grad_y1 + columns_backward(grad_columns, (b, h, w, c1), grad_y1.dtype)
    out.copy_(torch.cat([grad_x1, grad_x2], dim=3))


def columns_of_steps(y1: Tensor, dtype: torch.dtype) -> Tensor:
    """(n, B, H, W, C1) -> (n, rows, columns)."""
    return columns(y1.flatten(0, 1), dtype).view(len(y1), -1, column_count(y1.shape[4]))

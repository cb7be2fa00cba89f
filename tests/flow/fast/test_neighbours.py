"""3x3 convolutions are products of neighbourhoods, and back."""

import pytest
import torch
from torch.nn import functional as F

from glow_pipeline.flow.fast.neighbours import (
    column_count,
    columns,
    columns_backward,
    neighbour_sum,
    neighbour_sum_backward,
)
from tests.flow.helpers import gaussian

SHAPE = (2, 4, 5, 3)  # (B, H, W, c)


def test_columns_times_weights_are_a_convolution() -> None:
    x, weight = gaussian(*SHAPE), gaussian(7, 3, 3, 3, seed=1)  # (out, in, 3, 3)
    factors = F.pad(weight.permute(0, 2, 3, 1).flatten(1), (0, column_count(3) - 27))
    expected = F.conv2d(x.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1)
    torch.testing.assert_close((columns(x, x.dtype) @ factors.t()).view(2, 4, 5, 7), expected)


def test_neighbour_sums_of_products_are_a_convolution() -> None:
    x, weight = gaussian(2, 4, 5, 7), gaussian(3, 7, 3, 3, seed=1)
    factors = F.pad(weight.permute(2, 3, 0, 1).flatten(0, 2), (0, 0, 0, column_count(3) - 27))
    expected = F.conv2d(x.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(neighbour_sum(x.flatten(0, 2) @ factors.t(), SHAPE, x.dtype), expected)


def test_backward_functions_are_those_of_autograd() -> None:
    x, parts = gaussian(*SHAPE).requires_grad_(), gaussian(40, column_count(3), seed=1).requires_grad_()
    of_columns, of_sum = gaussian(40, column_count(3), seed=2), gaussian(*SHAPE, seed=3)
    (expected,) = torch.autograd.grad(columns(x, x.dtype), x, of_columns)
    torch.testing.assert_close(columns_backward(of_columns, SHAPE, x.dtype), expected)
    (expected,) = torch.autograd.grad(neighbour_sum(parts, SHAPE, x.dtype), parts, of_sum)
    torch.testing.assert_close(neighbour_sum_backward(of_sum, x.dtype), expected)


@pytest.mark.parametrize("channels", [1, 6, 7, 24])
def test_rows_are_aligned_and_end_with_a_one(channels: int) -> None:
    rows = columns(gaussian(1, 2, 2, channels), torch.bfloat16)
    assert rows.shape == (4, column_count(channels))
    assert rows.shape[1] % 8 == 0
    assert (rows[:, 9 * channels :] == 1).all()
    assert rows.shape[1] > 9 * channels

"""3x3 convolutions as matrix products: neighbourhoods of pixels as rows of a matrix, and the way back.

Pixels have their channels last here: (B, H, W, c). A row belongs to a pixel and has `column_count(c)` columns: its nine
neighbours from top left to bottom right, itself included, with their channels, and at least one more column.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

ALIGNMENT = 8  # products of bfloat16 are fast if rows are multiples of 16 bytes
CENTRE = 4  # the pixel itself among its neighbours


def channels_first(x: Tensor) -> Tensor:
    """Return pixels (B, H, W, c) as the plain layers have them: (B, c, H, W), of the same memory."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """Return what the plain layers have, (B, c, H, W), as pixels: (B, H, W, c), of the same memory."""
    return x.permute(0, 2, 3, 1)


def column_count(channels: int) -> int:
    """Return the columns of a row: nine times the channels and one, rounded up to what products need."""
    return aligned(9 * channels + 1)


def aligned(n: int) -> int:
    """Round up to a multiple of the alignment."""
    return -(-n // ALIGNMENT) * ALIGNMENT


def columns(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the neighbourhood of each pixel: (B, H, W, c) -> (B H W, columns), in this dtype.

    Neighbours outside the image are 0. All further columns are 1, so that a product with them sums the rows.
    """
    return _columns(x, dtype, opposite=False, further=1.0)


def neighbour_sum(parts: Tensor, shape: tuple[int, int, int, int], dtype: torch.dtype) -> Tensor:
    """Sum what each pixel's neighbours have for it: parts (B H W, columns) -> shape (B, H, W, c), in this dtype.

    A pixel gets nine numbers a channel: from the row of its neighbour (i, j) the columns of (i, j).
    """
    return _sum(parts, shape, dtype, opposite=False)


def columns_backward(grad: Tensor, shape: tuple[int, int, int, int], dtype: torch.dtype) -> Tensor:
    """Return the gradient of the input (B, H, W, c) of `columns`, given that of its result."""
    return _sum(grad, shape, dtype, opposite=True)


def neighbour_sum_backward(grad: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the gradient of the parts of `neighbour_sum` (B H W, columns), given that of its result (B, H, W, c)."""
    return _columns(grad, dtype, opposite=True, further=0.0)


def _columns(x: Tensor, dtype: torch.dtype, *, opposite: bool, further: float) -> Tensor:
    b, h, w, c = x.shape
    neighbours = F.pad(x.to(dtype), (0, 0, 1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)  # (B, H, W, c, 3, 3)
    if opposite:
        neighbours = neighbours.flip(4, 5)
    rows = neighbours.permute(0, 1, 2, 4, 5, 3).reshape(b * h * w, 9 * c)
    return F.pad(rows, (0, column_count(c) - 9 * c), value=further)


def _sum(parts: Tensor, shape: tuple[int, int, int, int], dtype: torch.dtype, *, opposite: bool) -> Tensor:
    b, h, w, c = shape
    padded = F.pad(parts[:, : 9 * c].view(b, h, w, 9, c), (0, 0, 0, 0, 1, 1, 1, 1))

    def part(i: int, j: int) -> Tensor:
        top, left = (2 - i, 2 - j) if opposite else (i, j)
        return padded[:, top : top + h, left : left + w, 3 * i + j].to(dtype)

    total = part(0, 0)
    for neighbour in range(1, 9):
        total = total + part(*divmod(neighbour, 3))
    return total

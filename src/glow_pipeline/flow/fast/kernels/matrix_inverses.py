"""Inverses and determinants of many small matrices in one kernel.

By torch's operations an H200 took 25 launches a level for them when this was written, 76 us for the factorization of 8
matrices of 48 x 48 alone: the libraries factorize in panels, as large matrices need it.
"""

import triton
import triton.language as tl
from torch import Tensor

VALUES_OF_A_WARP = 1024


def kernel_inverses(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return W^-T (K, C, C) of matrices W on a GPU, and factors (K, C) whose product is det W up to its sign."""
    count, channels = matrices.shape[:2]
    inverses, pivots = matrices.new_empty(matrices.shape), matrices.new_empty(count, channels)
    block = max(16, triton.next_power_of_2(channels))
    warps = max(1, block * block // VALUES_OF_A_WARP)
    _inverse[(count,)](matrices, *matrices.stride(), inverses, pivots, channels, BLOCK=block, num_warps=warps)
    return inverses, pivots


@triton.jit
def _inverse(matrices, stride, row_stride, column_stride, inverses, pivots, n, BLOCK: tl.constexpr):
    """Invert a matrix in place by exchange steps, Gauss-Jordan elimination with the largest pivot of each column.

    y = W x is solved for one x after the other. After step k the row of its pivot has what x_k is, and column k what
    multiplies the pivot's y.
    """
    place = tl.program_id(0).to(tl.int64)
    row, column = tl.arange(0, BLOCK), tl.arange(0, BLOCK)
    at = row[:, None] * row_stride + column[None, :] * column_stride
    inside = (row < n)[:, None] & (column < n)[None, :]
    table = tl.load(matrices + place * stride + at, mask=inside, other=0.0)
    x_of_row = tl.where(row < n, -1, BLOCK)  # -1: not exchanged yet
    y_of_column = tl.zeros((BLOCK,), tl.int32)
    found = tl.zeros((BLOCK,), table.dtype)
    for k in range(n):
        is_column = column == k
        of_column = tl.sum(tl.where(is_column[None, :], table, 0.0), axis=1)
        # One that is not a number is chosen, so that all numbers become so, and none is left out.
        size = tl.where(of_column == of_column, tl.abs(of_column), float("inf"))
        chosen = tl.argmax(tl.where(x_of_row == -1, size, -1.0), axis=0)
        is_row = row == chosen
        of_row = tl.sum(tl.where(is_row[:, None], table, 0.0), axis=0)
        pivot = tl.sum(tl.where(is_row, of_column, 0.0), axis=0)
        scaled = of_column / pivot
        eliminated = tl.where(is_column[None, :], scaled[:, None], table - scaled[:, None] * of_row[None, :])
        exchanged = tl.where(is_column, 1.0, -of_row) / pivot
        table = tl.where(is_row[:, None], exchanged[None, :], eliminated)
        x_of_row = tl.where(is_row, k, x_of_row)
        y_of_column = tl.where(is_column, chosen, y_of_column)
        found = tl.where(is_column, pivot, found)
    tl.store(inverses + place * n * n + y_of_column[None, :] * n + x_of_row[:, None], table, mask=inside)
    tl.store(pivots + place * n + column, found, mask=column < n)

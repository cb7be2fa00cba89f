"""Blocks of the backward kernels. A block is (ROWS, columns): a row a pixel, channels last."""

import triton
import triton.language as tl


@triton.jit
def block(values, rows, columns, N_ROWS, N_COLUMNS, STRIDE: tl.constexpr):
    """Load a block of a matrix with so many rows and columns in memory; 0 beyond them."""
    inside = (rows < N_ROWS)[:, None] & (columns < N_COLUMNS)[None, :]
    return tl.load(values + rows[:, None] * STRIDE + columns[None, :], mask=inside, other=0.0)


@triton.jit
def neighbours_of(
    values,
    row,
    top,
    left,
    real,
    column,
    STRIDE: tl.constexpr,
    SIGN: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
):
    """Gather the rows (STRIDE,) of each pixel's nine neighbours, from top left on, and of them these columns.

    Args:
        values: (rows, STRIDE) in memory.
        column: (columns,), less than 9 STRIDE, or 0 is loaded.
        SIGN: 1, or -1 for the opposite neighbours.
    """
    neighbour = column // STRIDE
    down, right = SIGN * (neighbour // 3 - 1), SIGN * (neighbour % 3 - 1)
    h, w = top[:, None] + down[None, :], left[:, None] + right[None, :]
    inside = (h >= 0) & (h < H) & (w >= 0) & (w < W) & real[:, None] & (column < 9 * STRIDE)[None, :]
    place = (row * STRIDE)[:, None] + ((down * W + right) * STRIDE + column % STRIDE)[None, :]
    return tl.load(values + place, mask=inside, other=0.0)


@triton.jit
def sum_of_opposite(
    parts,
    row,
    top,
    left,
    real,
    column,
    ROWS: tl.constexpr,
    STRIDE: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    SUM: tl.constexpr,
):
    """Sum what each pixel's opposite neighbours have for it: parts (9, ROWS, STRIDE) in memory -> (rows, STRIDE)."""
    total = tl.zeros((row.shape[0], column.shape[0]), SUM)
    for line in range(3):  # not unrolled here, for then Triton changes the layout of each load instead of the sum's
        down = 1 - line
        in_line = (top + down >= 0) & (top + down < H) & real
        for its in tl.static_range(3):
            right = 1 - its
            inside = in_line & (left + right >= 0) & (left + right < W)
            place = ((3 * line + its) * ROWS + row + down * W + right)[:, None] * STRIDE + column[None, :]
            total += tl.load(parts + place, mask=inside[:, None], other=0.0).to(SUM)
    return total

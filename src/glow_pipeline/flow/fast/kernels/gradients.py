"""Blocks of the backward kernels, and their products. A block is (ROWS, columns): a row a pixel, channels last."""

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


@triton.jit
def summed_product(
    a,
    b,
    start,
    n_rows,
    n_tiles,
    columns_a,
    columns_b,
    STRIDE_A: tl.constexpr,
    STRIDE_B: tl.constexpr,
    SIGN_A: tl.constexpr,
    SIGN_B: tl.constexpr,
    S: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
    SUM_PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Multiply the rows of a piece of the batch, or the neighbourhoods of their pixels.

    Args:
        a, b: (n_rows, STRIDE_A) and (n_rows, STRIDE_B) in memory.
        start: the first row's place in its image.
        columns_a, columns_b: those to multiply; of a neighbourhood from 0 to 9 STRIDE.
        SIGN_A, SIGN_B: 0: rows as they are; 1 or -1: neighbourhoods, as `neighbours_of` gathers them.
        SUM_PRECISION: of the sums of a's columns.

    Returns:
        a^T b (columns of a, columns of b), and the sums of a's columns.
    """
    SUM: tl.constexpr = tl.float64 if a.dtype.element_ty == tl.float64 else tl.float32
    product = tl.zeros((columns_a.shape[0], columns_b.shape[0]), SUM)
    ones = tl.full((ROWS, 16), 1.0, a.dtype.element_ty)
    total = tl.zeros((columns_a.shape[0], 16), SUM)
    for tile in tl.range(0, n_tiles, num_stages=STAGES):
        row = tile * ROWS + tl.arange(0, ROWS)
        rows_of_a = _rows(a, row, start, n_rows, columns_a, STRIDE_A, SIGN_A, S)
        rows_of_b = _rows(b, row, start, n_rows, columns_b, STRIDE_B, SIGN_B, S)
        transposed = tl.trans(rows_of_a)
        product = tl.dot(transposed, rows_of_b, product, input_precision=PRECISION, out_dtype=SUM)
        total = tl.dot(transposed, ones, total, input_precision=SUM_PRECISION, out_dtype=SUM)
    return product, tl.max(total, axis=1)  # its 16 columns, the fewest of a product, are equal


@triton.jit
def _rows(values, row, start, n_rows, columns, STRIDE: tl.constexpr, SIGN: tl.constexpr, S: tl.constexpr):
    """Load columns of the rows, or with a SIGN of their neighbourhoods: (ROWS, columns)."""
    if SIGN == 0:
        return block(values, row, columns, n_rows, STRIDE, STRIDE)
    place = (start + row) % (S.H * S.W)
    return neighbours_of(values, row, place // S.W, place % S.W, row < n_rows, columns, STRIDE, SIGN, S.H, S.W)

"""The coupling network in a kernel, and the transform that it predicts. `S` is a `tile.Sizes`.

A block is (ROWS, columns): a row a pixel of the program's images, channels last. Neighbours are numbered from top left
to bottom right, as in `neighbours`.
"""

import triton
import triton.language as tl


@triton.jit
def rows_of(first_row, n_rows, S: tl.constexpr):
    """Return row, place from the top and from the left (ROWS,) each, and whether the row is a pixel of an image."""
    row = tl.arange(0, S.ROWS)
    place = row % (S.H * S.W)
    return row, place // S.W, place % S.W, (row < S.IMAGES * S.H * S.W) & (first_row + row < n_rows)


@triton.jit
def copied(source, target, row, real, S: tl.constexpr):
    """Copy a state."""
    channel = tl.arange(0, S.CHANNELS)
    place = row[:, None] * S.C + channel[None, :]
    inside = real[:, None] & (channel < S.C)[None, :]
    tl.store(target + place, tl.load(source + place, mask=inside), mask=inside)
    tl.debug_barrier()


@triton.jit
def mixed(x, matrix, S: tl.constexpr, PRECISION: tl.constexpr):
    """Return x W^T for x (ROWS, CHANNELS) and W (C, C)."""
    channel = tl.arange(0, S.CHANNELS)
    used = channel < S.C
    return tl.dot(x, factor(matrix, channel, used, channel, used, S.C), input_precision=PRECISION, out_dtype=x.dtype)


@triton.jit
def factor(weight, row, row_used, column, column_used, STRIDE: tl.constexpr):
    """Load rows and columns of a weight, 0 for those not used, as the right factor of a product: (columns, rows)."""
    inside = column_used[:, None] & row_used[None, :]
    return tl.load(weight + row[None, :] * STRIDE + column[:, None], mask=inside, other=0.0)


@triton.jit
def network(
    y,
    scratch,
    firsts,
    seconds,
    weight1,
    bias1,
    weight2,
    bias2,
    weight3,
    k,
    row,
    top,
    left,
    real,
    S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute the network of step k on y (ROWS, CHANNELS), up to what each pixel has for its neighbours.

    That is in the scratch memory, for `predicted`: (9, ROWS, OUTPUTS, HALF2), so that a pixel's numbers are one access
    and those of neighbouring pixels are close together.

    Args:
        firsts, seconds: memory for the hidden layers of the rows (ROWS, HIDDEN), or None.
    """
    SUM: tl.constexpr = y.dtype
    low: tl.constexpr = weight1.dtype.element_ty
    channel = tl.arange(0, S.CHANNELS)
    wide = tl.arange(0, S.WIDTH)
    hidden = wide < S.HIDDEN
    weight1 += k * S.HIDDEN * S.COLUMNS_IN_MEMORY
    weight2 += k * S.HIDDEN * S.HIDDEN
    weight3 += k * S.PARTS_IN_MEMORY * S.HIDDEN
    # The numbers beyond C1 are 0, not undefined: they are multiplied with the zeros of a factor.
    inputs = tl.where((channel < S.C1)[None, :], y, 0.0).to(low)
    tl.store(scratch + row[:, None] * S.HALF1 + channel[None, :], inputs, mask=(channel < S.HALF1)[None, :])
    if S.STAGES > 1:
        weights2 = factor(weight2, wide, hidden, wide, hidden, S.HIDDEN)
    tl.debug_barrier()
    first = tl.load(bias1 + k * S.HIDDEN + wide, mask=hidden, other=0.0).to(SUM)[None, :]
    first += tl.zeros_like(row).to(SUM)[:, None]
    for start in tl.range(0, 9 * S.HALF1, S.COLUMNS, num_stages=S.STAGES):
        column = start + tl.arange(0, S.COLUMNS)
        neighbour, its = column // S.HALF1, column % S.HALF1
        used = (neighbour < 9) & (its < S.C1)
        weights1 = factor(weight1, wide, hidden, neighbour * S.C1 + its, used, S.COLUMNS_IN_MEMORY)
        down, right = neighbour // 3 - 1, neighbour % 3 - 1
        h, w = top[:, None] + down[None, :], left[:, None] + right[None, :]
        inside = (h >= 0) & (h < S.H) & (w >= 0) & (w < S.W) & real[:, None] & (neighbour < 9)[None, :]
        place = (row[:, None] + (down * S.W + right)[None, :]) * S.HALF1 + its[None, :]
        columns = tl.load(scratch + place, mask=inside, other=0.0)
        first = tl.dot(columns, weights1, first, input_precision=PRECISION, out_dtype=SUM)
    first = tl.maximum(first, 0.0).to(low)
    if S.STAGES == 1:
        weights2 = factor(weight2, wide, hidden, wide, hidden, S.HIDDEN)
    second = tl.dot(first, weights2, input_precision=PRECISION, out_dtype=SUM)
    second += tl.load(bias2 + k * S.HIDDEN + wide, mask=hidden, other=0.0).to(SUM)[None, :]
    second = tl.maximum(second, 0.0).to(low)
    if firsts is not None:
        place = row[:, None] * S.HIDDEN + wide[None, :]
        tl.store(firsts + place, first, mask=real[:, None] & hidden[None, :])
        tl.store(seconds + place, second, mask=real[:, None] & hidden[None, :])
    scratch += S.ROWS * S.HALF1
    PART: tl.constexpr = S.OUTPUTS * S.HALF2  # numbers for a neighbour
    for start in tl.range(0, 9 * PART, S.COLUMNS, num_stages=S.STAGES):
        column = start + tl.arange(0, S.COLUMNS)
        neighbour, output, its = column // PART, column % PART // S.HALF2, column % S.HALF2
        used = (neighbour < 9) & (its < S.C2)
        weights3 = factor(weight3, (neighbour * S.OUTPUTS + output) * S.C2 + its, used, wide, hidden, S.HIDDEN)
        parts = tl.dot(second, weights3, input_precision=PRECISION, out_dtype=SUM).to(low)
        at = (neighbour * (S.ROWS * PART) + column % PART)[None, :] + row[:, None] * PART
        tl.store(scratch + at, parts, mask=(neighbour < 9)[None, :])
    tl.debug_barrier()


@triton.jit
def predicted(scratch, bias3, output: tl.constexpr, row, top, left, real, SUM: tl.constexpr, S: tl.constexpr):
    """Sum what each pixel's neighbours have for it, as `neighbours.neighbour_sum` does: (ROWS, HALF2)."""
    column = tl.arange(0, S.HALF2)
    PART: tl.constexpr = S.OUTPUTS * S.HALF2
    scratch += S.ROWS * S.HALF1 + output * S.HALF2
    total = tl.load(bias3 + output * S.C2 + column, mask=column < S.C2, other=0.0).to(SUM)[None, :]
    for neighbour in tl.static_range(9):
        down = neighbour // 3 - 1
        right = neighbour % 3 - 1
        inside = (top + down >= 0) & (top + down < S.H) & (left + right >= 0) & (left + right < S.W) & real
        place = neighbour * (S.ROWS * PART) + (row + (down * S.W + right))[:, None] * PART + column[None, :]
        total += tl.load(scratch + place, mask=inside[:, None], other=0.0).to(SUM)
    return total


@triton.jit
def log_and_scale(s, S: tl.constexpr):
    """Return logarithm and value of floor + (1 - floor) sigmoid(s + 2), as `transform.log_affine_scale` has it."""
    s += 2
    small = tl.exp(-tl.abs(s))
    if S.FLOOR == 0:
        log_scale = tl.minimum(s, 0.0) - tl.log(1 + small)
        scale = tl.exp(log_scale)
    else:
        scale = S.FLOOR + (1 - S.FLOOR) * tl.where(s >= 0, 1.0, small) / (1 + small)
        log_scale = tl.log(scale)
    return log_scale, scale

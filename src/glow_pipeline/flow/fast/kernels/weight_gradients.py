"""The gradients of a level's weights from those of its activations: products a^T b of blocks with a row a pixel.

A program sums over a piece of the batch, for one step and for one weight or a part of it. All sums are stored, and
summed in the order of the pieces, so that they have the same bits in each run. The number of pieces does not depend on
the GPU.
"""

import triton
import triton.language as tl
from torch import Tensor

from glow_pipeline.flow.fast.folding.factors import Weights
from glow_pipeline.flow.fast.kernels.backward import ActivationGradients, Kept
from glow_pipeline.flow.fast.kernels.backward_sizes import BackwardSizes
from glow_pipeline.flow.fast.kernels.gradients import block, neighbours_of
from glow_pipeline.flow.fast.kernels.tile import FEWEST_COLUMNS, Tile
from glow_pipeline.flow.fast.neighbours import CENTRE, aligned
from glow_pipeline.flow.transform import Transform

PIECES = 256  # of the batch times steps: enough programs for a large GPU, and little memory for their sums
ROWS = 64  # pixels at once
MOST_COLUMNS = 128  # of a program's part of a weight
WARPS = 4
STAGES = 3  # tiles of rows that are loaded before the one in work


def weight_gradients(
    gradients: ActivationGradients,
    kept: Kept,
    weights: Weights,
    transform: Transform,
    precision: str,
    mixing_precision: str,
) -> Weights:
    """Compute the gradients of the weights of n steps; the columns and rows that pad them are undefined.

    Args:
        gradients: of the activations.
        kept: by the forward pass of the n steps.
        weights, transform, precision, mixing_precision: as for the gradients of the activations.
    """
    states = kept.states
    n = len(weights.matrix)
    rows = states[0, ..., 0].numel()
    sizes = BackwardSizes.of(states.shape, weights, transform, Tile.of(states.shape[2] * states.shape[3]), ROWS)
    tiles = -(-rows // ROWS)
    tiles_of_piece = -(-tiles // max(1, PIECES // n))
    pieces = -(-tiles // tiles_of_piece)
    starts = [0]  # of the kinds of weights in memory
    for weight in weights:
        starts.append(starts[-1] + aligned(weight[0].numel()))
    sums = states.new_empty(pieces, n * starts[-1])
    blocks1, blocks3 = -(-9 * sizes.Y1_ROW // MOST_COLUMNS), -(-9 * sizes.OUT_ROW // MOST_COLUMNS)
    _weight_gradients[(pieces, n, blocks1 + blocks3 + 2)](
        states,
        kept.second,
        kept.first,
        *gradients,
        sums,
        rows,
        tiles_of_piece,
        S=sizes,
        BIAS3=weights.bias3.shape[1],
        STARTS=tuple(starts),
        BLOCKS1=blocks1,
        BLOCKS3=blocks3,
        COLUMNS=MOST_COLUMNS,
        CENTRE=CENTRE,
        ROWS=ROWS,
        PRECISION=precision,
        MIXING=mixing_precision,
        OF_MATRIX="ieee" if sizes.C <= FEWEST_COLUMNS else mixing_precision,  # the faster, on an H200
        STAGES=STAGES if weights.weight1.element_size() == 2 else 1,  # several of float32 are too large
        num_warps=WARPS,
    )
    total = sums.sum(dim=0)
    low = total[n * starts[2] :].to(weights.weight1.dtype)

    def kind(i: int, weight: Tensor) -> Tensor:
        source, start = (total, n * starts[i]) if i < 2 else (low, n * (starts[i] - starts[2]))
        return source[start : start + weight.numel()].view(weight.shape)

    return Weights(*(kind(i, weight) for i, weight in enumerate(weights)))


@triton.jit(do_not_specialize=["n_rows", "n_tiles"])  # compile once, whatever the batch
def _weight_gradients(
    states,
    seconds,
    firsts,
    grads_mixed,
    grads_predicted,
    grads_second,
    grads_first,
    y1s,
    sums,
    n_rows,
    n_tiles,
    S: tl.constexpr,
    BIAS3: tl.constexpr,
    STARTS: tl.constexpr,
    BLOCKS1: tl.constexpr,
    BLOCKS3: tl.constexpr,
    COLUMNS: tl.constexpr,
    CENTRE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
    MIXING: tl.constexpr,
    OF_MATRIX: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Sum over a piece of n_tiles ROWS pixels, for step k and one part of the weights.

    Memory of pixels is (n, n_rows, channels), `states` one step more. `sums` is (pieces, n STARTS[8]): the kinds of
    weights one after another, and of each the n steps.
    """
    k = tl.program_id(1)
    part = tl.program_id(2)
    n_steps = tl.num_programs(1)
    start = tl.program_id(0).to(tl.int64) * n_tiles * ROWS
    at = k * tl.cast(n_rows, tl.int64) + start
    n_rows = tl.minimum(n_rows - start, n_tiles * ROWS).to(tl.int32)  # of this piece
    start = (start % (S.H * S.W)).to(tl.int32)  # within its image
    sums += tl.program_id(0).to(tl.int64) * n_steps * STARTS[8]
    channel = tl.arange(0, S.CHANNELS)
    wide = tl.arange(0, S.WIDTH)
    column = tl.arange(0, COLUMNS)
    if part < BLOCKS1:
        product, total = _product(
            grads_first + at * S.HIDDEN,
            y1s + at * S.Y1_ROW,
            start,
            n_rows,
            n_tiles,
            wide,
            part * COLUMNS + column,
            S.HIDDEN,
            S.Y1_ROW,
            0,
            1,
            S,
            ROWS,
            PRECISION,
            MIXING,
            STAGES,
        )
        target = sums + n_steps * STARTS[2] + k * S.HIDDEN * S.COLUMNS_IN_MEMORY
        neighbour, its = (part * COLUMNS + column) // S.Y1_ROW, (part * COLUMNS + column) % S.Y1_ROW
        inside = (wide < S.HIDDEN)[:, None] & ((neighbour < 9) & (its < S.C1))[None, :]
        place = wide[:, None] * S.COLUMNS_IN_MEMORY + (neighbour * S.C1 + its)[None, :]
        tl.store(target + place, product, mask=inside)
        if part == 0:
            tl.store(sums + n_steps * STARTS[3] + k * S.HIDDEN + wide, total, mask=wide < S.HIDDEN)
    elif part < BLOCKS1 + BLOCKS3:
        its_column = (part - BLOCKS1) * COLUMNS + column
        product3, total3 = _product(
            grads_predicted + at * S.OUT_ROW,
            seconds + at * S.HIDDEN,
            start,
            n_rows,
            n_tiles,
            its_column,
            wide,
            S.OUT_ROW,
            S.HIDDEN,
            -1,
            0,
            S,
            ROWS,
            PRECISION,
            MIXING,
            STAGES,
        )
        target3 = sums + n_steps * STARTS[6] + k * S.PARTS_IN_MEMORY * S.HIDDEN
        neighbour3, its3 = its_column // S.OUT_ROW, its_column % S.OUT_ROW
        inside3 = ((neighbour3 < 9) & (its3 < S.OUT))[:, None] & (wide < S.HIDDEN)[None, :]
        place3 = (neighbour3 * S.OUT + its3)[:, None] * S.HIDDEN + wide[None, :]
        tl.store(target3 + place3, product3, mask=inside3)
        tl.store(sums + n_steps * STARTS[7] + k * BIAS3 + its3, total3, mask=(neighbour3 == CENTRE) & (its3 < S.OUT))
    elif part == BLOCKS1 + BLOCKS3:
        product2, total2 = _product(
            grads_second + at * S.HIDDEN,
            firsts + at * S.HIDDEN,
            start,
            n_rows,
            n_tiles,
            wide,
            wide,
            S.HIDDEN,
            S.HIDDEN,
            0,
            0,
            S,
            ROWS,
            PRECISION,
            MIXING,
            STAGES,
        )
        target2 = sums + n_steps * STARTS[4] + k * S.HIDDEN * S.HIDDEN
        inside2 = (wide < S.HIDDEN)[:, None] & (wide < S.HIDDEN)[None, :]
        tl.store(target2 + wide[:, None] * S.HIDDEN + wide[None, :], product2, mask=inside2)
        tl.store(sums + n_steps * STARTS[5] + k * S.HIDDEN + wide, total2, mask=wide < S.HIDDEN)
    else:
        product0, total0 = _product(
            grads_mixed + at * S.C,
            states + at * S.C,
            start,
            n_rows,
            n_tiles,
            channel,
            channel,
            S.C,
            S.C,
            0,
            0,
            S,
            ROWS,
            OF_MATRIX,
            OF_MATRIX,
            1,
        )
        inside0 = (channel < S.C)[:, None] & (channel < S.C)[None, :]
        tl.store(sums + k * S.C * S.C + channel[:, None] * S.C + channel[None, :], product0, mask=inside0)
        tl.store(sums + n_steps * STARTS[1] + k * S.C + channel, total0, mask=channel < S.C)


@triton.jit
def _product(
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
    """Multiply the rows of a piece, or with a sign their neighbourhoods.

    Args:
        a, b: (n_rows, STRIDE_A) and (n_rows, STRIDE_B) in memory.
        start: the first row's place in its image.
        columns_a, columns_b: those to multiply.

    Returns:
        a^T b (columns of a, columns of b), and the sums of a's columns.
    """
    SUM: tl.constexpr = tl.float64 if a.dtype.element_ty == tl.float64 else tl.float32
    product = tl.zeros((columns_a.shape[0], columns_b.shape[0]), SUM)
    ones = tl.full((ROWS, 16), 1.0, a.dtype.element_ty)
    total = tl.zeros((columns_a.shape[0], 16), SUM)
    for tile in tl.range(0, n_tiles, num_stages=STAGES):
        row = tile * ROWS + tl.arange(0, ROWS)
        of_a = _rows(a, row, start, n_rows, columns_a, STRIDE_A, SIGN_A, S)
        of_b = _rows(b, row, start, n_rows, columns_b, STRIDE_B, SIGN_B, S)
        transposed = tl.trans(of_a)
        product = tl.dot(transposed, of_b, product, input_precision=PRECISION, out_dtype=SUM)
        total = tl.dot(transposed, ones, total, input_precision=SUM_PRECISION, out_dtype=SUM)
    return product, tl.max(total, axis=1)  # all columns are equal


@triton.jit
def _rows(values, row, start, n_rows, columns, STRIDE: tl.constexpr, SIGN: tl.constexpr, S: tl.constexpr):
    if SIGN == 0:
        return block(values, row, columns, n_rows, STRIDE, STRIDE)
    place = (start + row) % (S.H * S.W)
    return neighbours_of(values, row, place // S.W, place % S.W, row < n_rows, columns, STRIDE, SIGN, S.H, S.W)

"""The gradients of a level's weights, from those of its activations.

Each is a product a^T b of two blocks with a row a pixel, summed over all pixels of the batch:

    matrix   (C, C)                g_m^T x          bias   (C,)       sum of g_m
    weight1  (hidden, 9 C1)        g_1^T n(y1)      bias1  (hidden,)  sum of g_1
    weight2  (hidden, hidden)      g_2^T h1         bias2  (hidden,)  sum of g_2
    weight3  (9 out, hidden)       n'(g_p)^T h2     bias3  (out,)     sum of g_p

where g_m, g_1, g_2, g_p are the `ActivationGradients` mixed, first, second and predicted, h1 and h2 the hidden layers
after their ReLUs, n(y1) the nine neighbours of each pixel (9 C1 columns), and n' those on the opposite sides.

A program sums over a piece of the batch, for one step and for one weight or a part of it. All sums are stored, and
summed in the order of the pieces, so that they have the same bits in each run. The number of pieces does not depend on
the GPU.
"""

from dataclasses import astuple, dataclass
from typing import Self

import triton
import triton.language as tl
from torch import Tensor

from glow_pipeline.flow.fast.folding.factors import Weights
from glow_pipeline.flow.fast.kernels.backward import ActivationGradients, Kept
from glow_pipeline.flow.fast.kernels.backward_sizes import BackwardSizes
from glow_pipeline.flow.fast.kernels.gradients import summed_product
from glow_pipeline.flow.fast.kernels.tile import FEWEST_COLUMNS, Tile
from glow_pipeline.flow.fast.neighbours import CENTRE, aligned
from glow_pipeline.flow.transform import Transform

PIECES = 256  # of the batch times steps: enough programs for a large GPU, and little memory for their sums
ROWS = 64  # pixels at once
MOST_COLUMNS = 128  # of a program's part of a weight
WARPS = 4
STAGES = 3  # tiles of rows that are loaded before the one in work


@dataclass(frozen=True)
class Starts:
    """The start of each kind of weight in the sums of a piece, for one step; of n steps it is n times as far."""

    matrix: int
    bias: int
    weight1: int
    bias1: int
    weight2: int
    bias2: int
    weight3: int
    bias3: int
    end: int

    @classmethod
    def of(cls, weights: Weights) -> Self:
        starts = [0]
        for weight in weights:
            starts.append(starts[-1] + aligned(weight[0].numel()))
        return cls(*starts)


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
        gradients: of the activations of the n steps.
        kept: by the forward pass of these steps.
        weights, transform, precision, mixing_precision: as for the gradients of the activations.
    """
    states = kept.states
    n = len(weights.matrix)
    rows = states[0, ..., 0].numel()
    sizes = BackwardSizes.of(states.shape, weights, transform, Tile.of(states.shape[2] * states.shape[3]), ROWS)
    tiles = -(-rows // ROWS)
    tiles_of_piece = -(-tiles // max(1, PIECES // n))
    pieces = -(-tiles // tiles_of_piece)
    starts = Starts.of(weights)
    sums = states.new_empty(pieces, n * starts.end)
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
        STARTS=starts,
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
    of_networks = total[n * starts.weight1 :].to(weights.weight1.dtype)

    def kind(start: int, weight: Tensor) -> Tensor:
        is_networks = start >= starts.weight1
        source, first = (of_networks, n * (start - starts.weight1)) if is_networks else (total, n * start)
        return source[first : first + weight.numel()].view(weight.shape)

    return Weights(*(kind(start, weight) for start, weight in zip(astuple(starts), weights, strict=False)))


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

    The parts are BLOCKS1 blocks of the columns of weight1, BLOCKS3 of the rows of weight3, weight2, and the matrix;
    a bias belongs to the part of its weight.

    Memory of pixels is (n, n_rows, channels), `states` one step more. `sums` is (pieces, n STARTS.end): the kinds of
    weights one after another, and of each the n steps.
    """
    k = tl.program_id(1)
    part = tl.program_id(2)
    n_steps = tl.num_programs(1)
    start = tl.program_id(0).to(tl.int64) * n_tiles * ROWS
    at = k * tl.cast(n_rows, tl.int64) + start  # the piece's first row among those of all steps
    n_rows = tl.minimum(n_rows - start, n_tiles * ROWS).to(tl.int32)  # of this piece
    start = (start % (S.H * S.W)).to(tl.int32)  # within its image
    sums += tl.program_id(0).to(tl.int64) * n_steps * STARTS.end
    channel = tl.arange(0, S.CHANNELS)
    unit = tl.arange(0, S.WIDTH)
    column = tl.arange(0, COLUMNS)
    if part < BLOCKS1:
        column1 = part * COLUMNS + column
        product1, total1 = summed_product(
            grads_first + at * S.HIDDEN,
            y1s + at * S.Y1_ROW,
            start,
            n_rows,
            n_tiles,
            unit,
            column1,
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
        weight1 = sums + n_steps * STARTS.weight1 + k * S.HIDDEN * S.COLUMNS_IN_MEMORY
        neighbour1, input1 = column1 // S.Y1_ROW, column1 % S.Y1_ROW
        inside1 = (unit < S.HIDDEN)[:, None] & ((neighbour1 < 9) & (input1 < S.C1))[None, :]
        place1 = unit[:, None] * S.COLUMNS_IN_MEMORY + (neighbour1 * S.C1 + input1)[None, :]
        tl.store(weight1 + place1, product1, mask=inside1)
        if part == 0:
            tl.store(sums + n_steps * STARTS.bias1 + k * S.HIDDEN + unit, total1, mask=unit < S.HIDDEN)
    elif part < BLOCKS1 + BLOCKS3:
        column3 = (part - BLOCKS1) * COLUMNS + column
        product3, total3 = summed_product(
            grads_predicted + at * S.OUT_ROW,
            seconds + at * S.HIDDEN,
            start,
            n_rows,
            n_tiles,
            column3,
            unit,
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
        weight3 = sums + n_steps * STARTS.weight3 + k * S.PARTS_IN_MEMORY * S.HIDDEN
        neighbour3, output3 = column3 // S.OUT_ROW, column3 % S.OUT_ROW
        inside3 = ((neighbour3 < 9) & (output3 < S.OUT))[:, None] & (unit < S.HIDDEN)[None, :]
        place3 = (neighbour3 * S.OUT + output3)[:, None] * S.HIDDEN + unit[None, :]
        tl.store(weight3 + place3, product3, mask=inside3)
        # The centre alone has all pixels of the image: other neighbours lack those at a border.
        is_bias3 = (neighbour3 == CENTRE) & (output3 < S.OUT)
        tl.store(sums + n_steps * STARTS.bias3 + k * BIAS3 + output3, total3, mask=is_bias3)
    elif part == BLOCKS1 + BLOCKS3:
        product2, total2 = summed_product(
            grads_second + at * S.HIDDEN,
            firsts + at * S.HIDDEN,
            start,
            n_rows,
            n_tiles,
            unit,
            unit,
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
        weight2 = sums + n_steps * STARTS.weight2 + k * S.HIDDEN * S.HIDDEN
        inside2 = (unit < S.HIDDEN)[:, None] & (unit < S.HIDDEN)[None, :]
        tl.store(weight2 + unit[:, None] * S.HIDDEN + unit[None, :], product2, mask=inside2)
        tl.store(sums + n_steps * STARTS.bias2 + k * S.HIDDEN + unit, total2, mask=unit < S.HIDDEN)
    else:
        product0, total0 = summed_product(
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
        tl.store(sums + n_steps * STARTS.bias + k * S.C + channel, total0, mask=channel < S.C)

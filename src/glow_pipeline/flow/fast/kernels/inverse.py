"""The inverse of a level as one kernel."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from glow_pipeline.flow.fast.folding.factors import Weights
from glow_pipeline.flow.fast.kernels.network import copied, log_and_scale, mixed, network, predicted, rows_of
from glow_pipeline.flow.fast.kernels.tile import MOST_PROGRAMS, Sizes, Tile, launch_options
from glow_pipeline.flow.transform import Transform


def inverse(y: Tensor, weights: Weights, inverses: Tensor, transform: Transform, precision: str) -> Tensor:
    """Compute the inverse of all steps of a level.

    Args:
        y: (B, H, W, C), contiguous.
        weights: of all steps.
        inverses: of their matrices, (K, C, C), contiguous.
        transform: how the couplings change their second half.
        precision: of products of float32 factors, as `tl.dot` names it.

    Returns:
        (B, H, W, C).
    """
    b, h, w, _ = y.shape
    tile = Tile.of(h * w)
    sizes = Sizes.of(y.shape, weights, transform, tile)
    tiles = tile.count(b)
    programs = min(tiles, MOST_PROGRAMS)
    weights = Weights(*(tensor.contiguous() for tensor in weights))
    x = torch.empty_like(y)
    _inverse[(programs,)](
        y,
        x,
        weights.weight1.new_empty(programs, sizes.scratch),
        inverses,
        *weights[1:],
        b * h * w,
        tiles,
        len(inverses),
        S=sizes,
        PRECISION=precision,
        **launch_options(tile, weights, programs),
    )
    return x


@triton.jit(do_not_specialize=["n_rows", "n_tiles", "n_steps"])  # compile once, whatever the batch
def _inverse(
    images,
    states,
    scratch,
    inverses,
    bias,
    weight1,
    bias1,
    weight2,
    bias2,
    weight3,
    bias3,
    n_rows,
    n_tiles,
    n_steps,
    S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Invert all steps of a program's tiles, one after another: images (n_rows, C) -> states of the same shape.

    `scratch` (programs, `Sizes.scratch`) is memory of the programs.
    """
    SUM: tl.constexpr = states.dtype.element_ty
    scratch += tl.program_id(0).to(tl.int64) * (S.ROWS * (S.HALF1 + 9 * S.OUTPUTS * S.HALF2))
    channel = tl.arange(0, S.CHANNELS)
    half = tl.arange(0, S.HALF2)
    first_row = tl.program_id(0).to(tl.int64) * (S.IMAGES * S.H * S.W)
    for _ in range(tl.program_id(0), n_tiles, tl.num_programs(0)):
        row, top, left, real = rows_of(first_row, n_rows, S)
        whole = real[:, None] & (channel < S.C)[None, :]
        second_half = real[:, None] & (half < S.C2)[None, :]
        state = states + first_row * S.C
        copied(images + first_row * S.C, state, row, real, S)
        for step in range(n_steps):
            k = n_steps - 1 - step
            y = tl.load(state + row[:, None] * S.C + channel[None, :], mask=whole, other=0.0)
            network(
                y, scratch, None, None, weight1, bias1, weight2, bias2, weight3, k, row, top, left, real, S, PRECISION
            )
            place = row[:, None] * S.C + S.C1 + half[None, :]
            y2 = tl.load(state + place, mask=second_half, other=0.0)
            t = predicted(scratch, bias3 + k * S.BIAS3, 0, row, top, left, real, SUM, S)
            if S.OUTPUTS == 2:
                s = predicted(scratch, bias3 + k * S.BIAS3, 1, row, top, left, real, SUM, S)
                y2 *= tl.exp(-log_and_scale(s, S)[0])
            tl.store(state + place, y2 - t, mask=second_half)
            tl.debug_barrier()
            y = tl.load(state + row[:, None] * S.C + channel[None, :], mask=whole, other=0.0)
            y -= tl.load(bias + k * S.C + channel, mask=channel < S.C, other=0.0)[None, :]
            x = mixed(y, inverses + k * S.C * S.C, S, PRECISION)
            tl.debug_barrier()
            tl.store(state + row[:, None] * S.C + channel[None, :], x, mask=whole)
            tl.debug_barrier()
        first_row += tl.num_programs(0) * (S.IMAGES * S.H * S.W)

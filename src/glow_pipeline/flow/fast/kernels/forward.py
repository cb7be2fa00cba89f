"""The forward pass of a level as one kernel."""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from glow_pipeline.flow.fast.folding.factors import Weights
from glow_pipeline.flow.fast.kernels.network import copied, log_and_scale, mixed, network, predicted, rows_of
from glow_pipeline.flow.fast.kernels.tile import MOST_PROGRAMS, Sizes, Tile, launch_options
from glow_pipeline.flow.transform import ShiftAndScale, Transform


class Passed(NamedTuple):
    """Results of a forward pass, and the tensors that it keeps."""

    states: Tensor  # (K + 1, B, H, W, C), the input and each step's output; (1, B, H, W, C), the output, if not kept
    log_scale: Tensor  # (B, H, W), summed over steps and channels
    scales: Tensor | None  # (K, B, H, W, C2), of the couplings; None if not kept, or if they do not scale
    first: Tensor | None  # (K, B, H, W, hidden), after the networks' first ReLU; None if not kept
    second: Tensor | None  # after their second


def forward(
    x: Tensor,
    weights: Weights,
    transform: Transform,
    precision: str,
    mixing_precision: str,
    *,
    keep: bool = False,
    keep_hidden: bool = False,
) -> Passed:
    """Compute all steps of a level.

    Args:
        x: (B, H, W, C), contiguous.
        weights: of all steps.
        transform: how the couplings change their second half.
        precision: of the networks' products of float32 factors, as `tl.dot` names it.
        mixing_precision: of the products with the matrices of the state.
        keep: keep states and scales for a backward pass.
        keep_hidden: keep the networks' hidden layers, too.
    """
    b, h, w, c = x.shape
    tile = Tile.of(h * w)
    sizes = Sizes.of(x.shape, weights, transform, tile)
    steps, hidden = weights.weight1.shape[:2]
    weights = Weights(*(tensor.contiguous() for tensor in weights))
    states = x.new_empty(steps + 1 if keep else 1, b, h, w, c)
    scales = x.new_empty(steps, b, h, w, sizes.C2) if keep and isinstance(transform, ShiftAndScale) else None
    first, second = (weights.weight1.new_empty(steps, b, h, w, hidden) if keep_hidden else None for _ in range(2))
    log_scale = x.new_empty(b, h, w)
    tiles = tile.count(b)
    programs = min(tiles, MOST_PROGRAMS)
    _forward[(programs,)](
        x,
        states,
        log_scale,
        scales,
        first,
        second,
        weights.weight1.new_empty(programs, sizes.scratch),
        *weights,
        b * h * w,
        tiles,
        steps,
        S=sizes,
        KEEP=keep,
        MIXING=mixing_precision,
        PRECISION=precision,
        **launch_options(tile, weights, programs),
    )
    return Passed(states, log_scale, scales, first, second)


@triton.jit(do_not_specialize=["n_rows", "n_tiles", "n_steps"])  # compile once, whatever the batch
def _forward(
    images,
    states,
    log_scale_of_pixels,
    scales,
    firsts,
    seconds,
    scratch,
    matrix,
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
    KEEP: tl.constexpr,
    MIXING: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute all steps of a program's tiles, one after another. Memory of pixels is (n_rows, channels).

    Args:
        states, scales, firsts, seconds: with the steps as their first dimension; only the last state without KEEP.
        scratch: (programs, `Sizes.scratch`), memory of the programs.
    """
    SUM: tl.constexpr = states.dtype.element_ty  # of all but the network's factors, which may be bfloat16
    scratch += tl.program_id(0).to(tl.int64) * (S.ROWS * (S.HALF1 + 9 * S.OUTPUTS * S.HALF2))
    channel = tl.arange(0, S.CHANNELS)
    half = tl.arange(0, S.HALF2)
    all_rows = tl.cast(n_rows, tl.int64)
    first_row = tl.program_id(0).to(tl.int64) * (S.IMAGES * S.H * S.W)
    for _ in range(tl.program_id(0), n_tiles, tl.num_programs(0)):
        row, top, left, real = rows_of(first_row, n_rows, S)
        whole = real[:, None] & (channel < S.C)[None, :]
        second_half = real[:, None] & (half < S.C2)[None, :]
        state = states + first_row * S.C
        copied(images + first_row * S.C, state, row, real, S)
        log_scales = tl.zeros_like(row).to(SUM)[:, None] + tl.zeros_like(half).to(SUM)[None, :]
        for k in range(n_steps):
            x = tl.load(state + row[:, None] * S.C + channel[None, :], mask=whole, other=0.0)
            shift = tl.load(bias + k * S.C + channel, mask=channel < S.C, other=0.0)
            y = mixed(x, matrix + k * S.C * S.C, S, MIXING) + shift[None, :]
            if KEEP:
                state += all_rows * S.C
            else:
                tl.debug_barrier()  # other threads may not have loaded their factors of the product yet
            tl.store(state + row[:, None] * S.C + channel[None, :], y, mask=whole)
            kept = k * all_rows + first_row
            network(
                y,
                scratch,
                firsts if firsts is None else firsts + kept * S.HIDDEN,
                seconds if seconds is None else seconds + kept * S.HIDDEN,
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
                S,
                PRECISION,
            )
            place = row[:, None] * S.C + S.C1 + half[None, :]
            y2 = tl.load(state + place, mask=second_half, other=0.0)
            y2 += predicted(scratch, bias3 + k * S.BIAS3, 0, row, top, left, real, SUM, S)
            if S.OUTPUTS == 2:
                s = predicted(scratch, bias3 + k * S.BIAS3, 1, row, top, left, real, SUM, S)
                log_scale, scale = log_and_scale(s, S)
                y2 *= scale
                log_scales += log_scale
                if KEEP:
                    tl.store(scales + (kept + row)[:, None] * S.C2 + half[None, :], scale, mask=second_half)
            tl.store(state + place, y2, mask=second_half)
            tl.debug_barrier()
        log_scales = tl.where(second_half, log_scales, 0.0)
        tl.store(log_scale_of_pixels + first_row + row, tl.sum(log_scales, axis=1), mask=real)
        first_row += tl.num_programs(0) * (S.IMAGES * S.H * S.W)

"""The gradients of a level's activations as one kernel: a program takes whole images through all steps, backwards.

A step is, for a pixel with state x (C channels: C1 that the network reads, and C2 that it changes),

    m = W x + b                      actnorm and permutation
    h1 = relu(W1 n(m1) + b1)         n: the nine neighbours of a pixel, 9 C1 numbers
    h2 = relu(W2 h1 + b2)
    p = sum of W3 h2 + b3            each pixel has nine parts, one for each neighbour; p is the sum of those for it
    y1, y2 = m1, (m2 + t) scale(s)   p = (t, s); an additive coupling has p = t, and no scale

Its gradients, written g, follow from those of y and of logdet = sum of log scale(s) + const:

    g_m2 = g_t = g_y2 scale          g_s = (g_logdet + g_y2 y2) dlog(scale)/ds, see `ShiftAndScale.backward`
    g_2 = W3^T n'(g_p) where h2 > 0  n': the neighbours on the opposite sides
    g_1 = W2^T g_2 where h1 > 0
    g_m1 = g_y1 + sum of W1^T g_1    again nine parts a pixel, for the neighbours on the opposite sides
    g_x = W^T g_m                    which is g_y of the step before
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from glow_pipeline.flow.fast.folding.factors import Weights
from glow_pipeline.flow.fast.kernels.backward_sizes import BackwardSizes
from glow_pipeline.flow.fast.kernels.gradients import block, neighbours_of, sum_of_opposite
from glow_pipeline.flow.fast.kernels.tile import Tile
from glow_pipeline.flow.transform import Transform

PIECE = 128  # rows whose hidden layers' gradients are in registers at once


class Kept(NamedTuple):
    """Tensors that a forward pass kept of n steps."""

    states: Tensor  # (n + 1, B, H, W, C), the first one's input and all outputs
    scales: Tensor | None  # (n, B, H, W, C2), of the couplings; None if they do not scale
    first: Tensor  # (n, B, H, W, hidden), after the networks' first ReLU
    second: Tensor  # after their second

    def steps(self, start: int, end: int) -> "Kept":
        """Return what belongs to the steps `start` to `end` - 1."""
        scales = None if self.scales is None else self.scales[start:end]
        return Kept(self.states[start : end + 1], scales, self.first[start:end], self.second[start:end])


class ActivationGradients(NamedTuple):
    """The gradients of what n steps compute for each pixel, and a copy of their networks' input."""

    mixed: Tensor  # (n, B, H, W, C), of the input of the couplings
    predicted: Tensor  # (n, B, H, W, OUT_ROW), of the output of their networks
    second: Tensor  # (n, B, H, W, hidden), of the input of the networks' second ReLU
    first: Tensor  # of the first
    y1: Tensor  # (n, B, H, W, Y1_ROW), the networks' input


def activation_gradients(
    grad: Tensor,
    grad_logdet: Tensor,
    kept: Kept,
    weights: Weights,
    transform: Transform,
    precision: str,
    mixing_precision: str,
) -> ActivationGradients:
    """Compute the gradients of n steps' activations; overwrite `grad` with that of the first one's input.

    Args:
        grad: gradient of the last step's output (B, H, W, C), contiguous.
        grad_logdet: (B,), contiguous.
        kept: of the n steps.
        weights: of the n steps.
        transform: how the couplings change their second half.
        precision: of the networks' products of float32 factors, as `tl.dot` names it.
        mixing_precision: of the products with the matrices of the state.
    """
    b, h, w, _ = grad.shape
    low = weights.weight1
    n, hidden = low.shape[:2]
    tile = Tile.of(h * w)
    programs = tile.count(b)
    sizes = BackwardSizes.of(grad.shape, weights, transform, tile, PIECE)
    gradients = ActivationGradients(
        torch.empty_like(kept.states[1:]),
        low.new_empty(n, b, h, w, sizes.OUT_ROW),
        low.new_empty(n, b, h, w, hidden),
        low.new_empty(n, b, h, w, hidden),
        low.new_empty(n, b, h, w, sizes.Y1_ROW),
    )
    _activation_gradients[(programs,)](
        grad,
        grad_logdet,
        kept.states,
        kept.scales,
        kept.second,
        kept.first,
        *gradients,
        low.new_empty(programs, 9, tile.rows, sizes.HALF),
        weights.matrix,
        weights.weight1,
        weights.weight2,
        weights.weight3,
        b * h * w,
        n,
        S=sizes,
        PRECISION=precision,
        MIXING=mixing_precision,
        num_warps=tile.warps,
        num_stages=1,  # the loop's loads must not overtake its stores
    )
    return gradients


@triton.jit(do_not_specialize=["n_rows", "n_steps"])  # compile once, whatever the batch
def _activation_gradients(
    grads,
    grad_logdet,
    states,
    scales,
    seconds,
    firsts,
    grads_mixed,
    grads_predicted,
    grads_second,
    grads_first,
    y1s,
    parts,
    matrix,
    weight1,
    weight2,
    weight3,
    n_rows,
    n_steps,
    S: tl.constexpr,
    PRECISION: tl.constexpr,
    MIXING: tl.constexpr,
):
    """Compute the gradients of a tile's rows, from the last step to the first.

    Args:
        grads: (n_rows, C), g_y of the last step; on return g_x of the first.
        grad_logdet: (images,).
        states, scales, seconds, firsts: as `Kept` has them, (n, n_rows, channels); `states` (n + 1, n_rows, C).
        grads_mixed, grads_predicted, grads_second, grads_first, y1s: results, as `ActivationGradients` has them.
        parts: (programs, 9, ROWS, HALF), memory of the programs.
        matrix, weight1, weight2, weight3: as `Weights` has them.
    """
    low: tl.constexpr = weight1.dtype.element_ty  # of the network's factors
    SUM: tl.constexpr = states.dtype.element_ty  # of all else
    first_row = tl.program_id(0).to(tl.int64) * (S.IMAGES * S.H * S.W)
    row = tl.arange(0, S.ROWS)
    top, left = row % (S.H * S.W) // S.W, row % S.W
    real = (row < S.IMAGES * S.H * S.W) & (first_row + row < n_rows)
    parts += tl.program_id(0).to(tl.int64) * (9 * S.ROWS * S.HALF)
    grads += first_row * S.C
    half = tl.arange(0, S.HALF)
    channel = tl.arange(0, S.CHANNELS)
    in_first = real[:, None] & (half < S.C1)[None, :]
    in_second = real[:, None] & (half < S.C2)[None, :]
    in_state = real[:, None] & (channel < S.C)[None, :]
    of_half = row[:, None] * S.C + half[None, :]
    of_state = row[:, None] * S.C + channel[None, :]
    image = tl.program_id(0) * S.IMAGES + row // (S.H * S.W)
    of_logdet = tl.load(grad_logdet + image, mask=real, other=0.0)[:, None]
    for i in range(n_steps):
        k = n_steps - 1 - i
        at = first_row + k * tl.cast(n_rows, tl.int64)  # the program's first row among those of all steps
        y = states + (at + n_rows) * S.C
        grad_mixed = grads_mixed + at * S.C
        # The transform of the second half: g_m2 and g_p, and a copy of y1 for `weight_gradients`.
        predicted = grads_predicted + at * S.OUT_ROW + row[:, None] * S.OUT_ROW
        grad2 = tl.load(grads + S.C1 + of_half, mask=in_second, other=0.0)
        if S.SCALED:
            scale = tl.load(scales + at * S.C2 + row[:, None] * S.C2 + half[None, :], mask=in_second, other=1.0)
            y2 = tl.load(y + S.C1 + of_half, mask=in_second, other=0.0)
            grad_s = (of_logdet + grad2 * y2) * (1 - scale)
            if S.FLOOR != 0:
                grad_s = grad_s * (1 - S.FLOOR / scale) / (1 - S.FLOOR)
            grad2 *= scale
            tl.store(predicted + S.C2 + half[None, :], grad_s.to(low), mask=in_second)
        tl.store(predicted + half[None, :], grad2.to(low), mask=in_second)
        if S.OUT_ROW > S.OUT:
            unused = S.OUT + half
            inside = real[:, None] & (unused < S.OUT_ROW)[None, :]
            tl.store(predicted + unused[None, :], tl.zeros_like(grad2).to(low), mask=inside)
        tl.store(grad_mixed + S.C1 + of_half, grad2, mask=in_second)
        y1 = tl.load(y + of_half, mask=in_first, other=0.0).to(low)
        in_y1 = real[:, None] & (half < S.Y1_ROW)[None, :]
        tl.store(y1s + at * S.Y1_ROW + row[:, None] * S.Y1_ROW + half[None, :], y1, mask=in_y1)
        tl.debug_barrier()
        # The coupling network: g_2, g_1 and the parts of g_m1; all rows at once would need too many registers.
        for piece in range(S.ROWS // S.PIECE):
            _through_network(
                piece * S.PIECE,
                n_rows - first_row,
                seconds + at * S.HIDDEN,
                firsts + at * S.HIDDEN,
                grads_predicted + at * S.OUT_ROW,
                grads_second + at * S.HIDDEN,
                grads_first + at * S.HIDDEN,
                parts,
                weight1 + k * S.HIDDEN * S.COLUMNS_IN_MEMORY,
                weight2 + k * S.HIDDEN * S.HIDDEN,
                weight3 + k * S.PARTS_IN_MEMORY * S.HIDDEN,
                S,
                SUM,
                PRECISION,
            )
        mixing = block(matrix + k * S.C * S.C, channel, channel, S.C, S.C, S.C)
        grad1 = tl.load(grads + of_half, mask=in_first, other=0.0)
        tl.debug_barrier()
        grad1 += sum_of_opposite(parts, row, top, left, real, half, S.ROWS, S.HALF, S.H, S.W, SUM)
        tl.store(grad_mixed + of_half, grad1, mask=in_first)
        tl.debug_barrier()
        # Permutation and actnorm: g_x.
        mixed = tl.load(grad_mixed + of_state, mask=in_state, other=0.0)
        grad = tl.dot(mixed, mixing, input_precision=MIXING, out_dtype=SUM)
        tl.store(grads + of_state, grad, mask=in_state)
        tl.debug_barrier()


@triton.jit
def _through_network(
    start,
    n_rows,
    second,
    first,
    grads_predicted,
    grads_second,
    grads_first,
    parts,
    weight1,
    weight2,
    weight3,
    S: tl.constexpr,
    SUM: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute g_2 and g_1 of a step's network from g_p, and the parts of g_m1, for PIECE rows from `start` on.

    Args:
        start: the first row in the program's tile.
        n_rows: of the batch, from the tile's first row on.
        second, first: h2 and h1 of the tile (rows, HIDDEN).
        grads_predicted: g_p of the tile (rows, OUT_ROW).
        grads_second, grads_first: results, g_2 and g_1 of the tile (rows, HIDDEN).
        parts: result (9, ROWS, HALF): what each pixel has for g_m1 of its neighbours.
        weight1, weight2, weight3: of the step.
    """
    row = start + tl.arange(0, S.PIECE)
    top, left = row % (S.H * S.W) // S.W, row % S.W
    real = (row < S.IMAGES * S.H * S.W) & (row < n_rows)
    unit = tl.arange(0, S.WIDTH)
    in_hidden = real[:, None] & (unit < S.HIDDEN)[None, :]
    of_hidden = row[:, None] * S.HIDDEN + unit[None, :]
    # All loads come first: each product would else wait for its own.
    grad_neighbours, factor3 = _factors3(0, grads_predicted, weight3, row, top, left, real, S)
    h2 = tl.load(second + of_hidden, mask=in_hidden, other=0.0)
    factor2 = block(weight2, unit, unit, S.HIDDEN, S.HIDDEN, S.HIDDEN)
    h1 = tl.load(first + of_hidden, mask=in_hidden, other=0.0)
    grad = tl.dot(grad_neighbours, factor3, input_precision=PRECISION, out_dtype=SUM)
    for start_part in range(S.PARTS, 9 * S.OUT_ROW, S.PARTS):
        grad_neighbours, factor3 = _factors3(start_part, grads_predicted, weight3, row, top, left, real, S)
        grad = tl.dot(grad_neighbours, factor3, grad, input_precision=PRECISION, out_dtype=SUM)
    grad_second = tl.where(h2 > 0, grad, 0.0).to(h2.dtype)
    tl.store(grads_second + of_hidden, grad_second, mask=in_hidden)
    grad = tl.dot(grad_second, factor2, input_precision=PRECISION, out_dtype=SUM)
    grad_first = tl.where(h1 > 0, grad, 0.0).to(h1.dtype)
    tl.store(grads_first + of_hidden, grad_first, mask=in_hidden)
    for start_column in range(0, 9 * S.HALF, S.COLUMNS):
        column = start_column + tl.arange(0, S.COLUMNS)
        neighbour, channel = column // S.HALF, column % S.HALF
        used = (neighbour < 9) & (channel < S.C1)
        place = unit[:, None] * S.COLUMNS_IN_MEMORY + (neighbour * S.C1 + channel)[None, :]
        factor1 = tl.load(weight1 + place, mask=(unit < S.HIDDEN)[:, None] & used[None, :], other=0.0)
        parts_of_columns = tl.dot(grad_first, factor1, input_precision=PRECISION, out_dtype=SUM).to(h1.dtype)
        target = parts + (neighbour * (S.ROWS * S.HALF) + channel)[None, :] + row[:, None] * S.HALF
        tl.store(target, parts_of_columns, mask=real[:, None] & (neighbour < 9)[None, :])


@triton.jit
def _factors3(start, grads_predicted, weight3, row, top, left, real, S: tl.constexpr):
    """Load PARTS columns of n'(g_p) (PIECE, 9 OUT_ROW) from `start` on, and as many rows of W3 (9 OUT_ROW, WIDTH)."""
    part = start + tl.arange(0, S.PARTS)
    unit = tl.arange(0, S.WIDTH)
    grad_neighbours = neighbours_of(grads_predicted, row, top, left, real, part, S.OUT_ROW, -1, S.H, S.W)
    neighbour, output = part // S.OUT_ROW, part % S.OUT_ROW
    inside = ((neighbour < 9) & (output < S.OUT))[:, None] & (unit < S.HIDDEN)[None, :]
    place = (neighbour * S.OUT + output)[:, None] * S.HIDDEN + unit[None, :]
    return grad_neighbours, tl.load(weight3 + place, mask=inside, other=0.0)

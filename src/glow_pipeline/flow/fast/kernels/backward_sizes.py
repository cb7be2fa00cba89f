"""Sizes of the backward kernels' blocks."""

from dataclasses import dataclass
from typing import Self

from glow_pipeline.flow.fast.folding.factors import Weights
from glow_pipeline.flow.fast.kernels.tile import FEWEST_COLUMNS, Tile, memory_of_factors, power_of_two
from glow_pipeline.flow.transform import ShiftAndScale, Transform

VECTOR = 4  # elements of bfloat16 that a thread loads at once


@dataclass(frozen=True)
class BackwardSizes:
    """Sizes that the backward kernels are compiled for. A block's sizes are powers of two."""

    C: int  # channels, of which the first C1 are the input of the coupling's network, and the other C2 change
    C1: int
    C2: int
    OUT: int  # outputs of the network
    OUT_ROW: int  # of them in memory, with zeros
    Y1_ROW: int  # of the C1 channels in memory, with zeros
    HIDDEN: int
    H: int
    W: int
    IMAGES: int  # of a tile
    ROWS: int
    PIECE: int  # rows whose hidden layers are in registers at once
    COLUMNS_IN_MEMORY: int  # of the first factor
    PARTS_IN_MEMORY: int  # rows of the third factor
    CHANNELS: int  # of a block: C rounded up
    HALF: int  # the larger of C1 and C2 rounded up
    COLUMNS: int  # of a block of the columns 9 HALF
    WIDTH: int  # HIDDEN rounded up
    PARTS: int  # of a block of the columns 9 OUT_ROW
    SCALED: bool  # couplings have a scale
    FLOOR: float  # of scales

    @classmethod
    def of(cls, shape: tuple[int, ...], weights: Weights, transform: Transform, tile: Tile, piece: int) -> Self:
        """Return the sizes for states of this shape (..., H, W, C)."""
        h, w, c = shape[-3:]
        c1 = c // 2
        c2 = c - c1
        out = transform.outputs_per_channel * c2
        out_row = -(-out // VECTOR) * VECTOR
        hidden = weights.weight1.shape[1]
        half = max(VECTOR, power_of_two(c2))
        width = max(FEWEST_COLUMNS, power_of_two(hidden))
        piece = min(piece, tile.rows)
        bytes_of_column = (piece + 2 * width) * weights.weight1.element_size()  # float32's factors may take two tensors
        return cls(
            C=c,
            C1=c1,
            C2=c2,
            OUT=out,
            OUT_ROW=out_row,
            Y1_ROW=-(-c1 // VECTOR) * VECTOR,
            HIDDEN=hidden,
            H=h,
            W=w,
            IMAGES=tile.images,
            ROWS=tile.rows,
            PIECE=piece,
            COLUMNS_IN_MEMORY=weights.weight1.shape[2],
            PARTS_IN_MEMORY=weights.weight3.shape[1],
            CHANNELS=max(FEWEST_COLUMNS, power_of_two(c)),
            HALF=half,
            COLUMNS=min(128, power_of_two(9 * half)),
            WIDTH=width,
            PARTS=min(
                power_of_two(9 * out_row),
                power_of_two(memory_of_factors(weights.weight1.device) // bytes_of_column + 1) // 2,
            ),
            SCALED=isinstance(transform, ShiftAndScale),
            FLOOR=transform.scale_floor if isinstance(transform, ShiftAndScale) else 0.0,
        )

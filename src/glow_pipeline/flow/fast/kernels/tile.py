"""The pixels that one program of a kernel works on, those of whole images, and the sizes of its blocks."""

from dataclasses import dataclass
from typing import Self

import torch

from glow_pipeline.flow.fast.folding.factors import Weights
from glow_pipeline.flow.transform import ShiftAndScale, Transform

MOST_ROWS = 256  # pixels whose hidden layers fit into a multiprocessor's registers
FEWEST_ROWS = 64  # of a tensor core's product
ROWS_OF_A_WARP = 32
FEWEST_COLUMNS = 16  # of a factor of a product
BLOCK_COLUMNS = 64  # of factors that are taken in parts: more need more registers than there are
SHARED_MEMORY = 227 * 2**10  # bytes of a multiprocessor of an H200 that a program may take
OTHER_MEMORY = 27 * 2**10  # of them, for other than the factors of the largest product
MOST_PROGRAMS = 1056  # each has memory of its own and loops over tiles; 8 for each multiprocessor of an H200


@dataclass(frozen=True)
class Tile:
    """Pixels of whole images, one a row.

    Attributes:
        images: images of a program.
        rows: pixels of a program, a power of two; those beyond its images are not used.
        warps: warps of a program.
    """

    images: int
    rows: int
    warps: int

    def __post_init__(self) -> None:
        # A warp multiplies 16 rows. For 64 rows and 8 warps Triton 3.6 lays out products of 128 rows, of which half are
        # copies of the others, and an H200 reported an illegal memory access in one such kernel: why is not known.
        if self.warps * 16 > self.rows:
            raise ValueError(f"{self.warps} warps for {self.rows} rows: should be at most {self.rows // 16}")

    @classmethod
    def of(cls, pixels: int) -> Self:
        """Return the tile for images of so many pixels, at most MOST_ROWS."""
        rows = max(FEWEST_ROWS, power_of_two(pixels))
        return cls(rows // pixels, rows, rows // ROWS_OF_A_WARP if rows > FEWEST_ROWS else 4)

    def count(self, n_images: int) -> int:
        """Return how many tiles so many images are."""
        return -(-n_images // self.images)


@dataclass(frozen=True)
class Sizes:
    """Sizes that the forward and inverse kernels are compiled for.

    A block's sizes are powers of two, and a product's at least 16.
    """

    C: int  # channels, of which the first C1 are the input of the coupling's network, and the other C2 change
    C1: int
    C2: int
    OUTPUTS: int  # numbers that the network predicts for each of C2: a shift, and a scale if couplings have one
    HIDDEN: int
    H: int
    W: int
    IMAGES: int  # of a tile
    ROWS: int
    COLUMNS_IN_MEMORY: int  # of the first factor
    PARTS_IN_MEMORY: int  # rows of the third factor
    BIAS3: int
    CHANNELS: int  # of a block: C rounded up
    HALF1: int  # C1 rounded up
    HALF2: int  # C2 rounded up
    WIDTH: int  # HIDDEN rounded up
    COLUMNS: int  # of a block of the first factor, and of the third
    STAGES: int  # of the loops over these blocks: with several, weights are loaded ahead of their product
    FLOOR: float  # of scales

    @classmethod
    def of(cls, shape: tuple[int, ...], weights: Weights, transform: Transform, tile: Tile) -> Self:
        """Return the sizes for images of this shape (B, H, W, C)."""
        _, h, w, c = shape
        c1 = c // 2
        hidden = weights.weight1.shape[1]
        return cls(
            C=c,
            C1=c1,
            C2=c - c1,
            OUTPUTS=transform.outputs_per_channel,
            HIDDEN=hidden,
            H=h,
            W=w,
            IMAGES=tile.images,
            ROWS=tile.rows,
            COLUMNS_IN_MEMORY=weights.weight1.shape[2],
            PARTS_IN_MEMORY=weights.weight3.shape[1],
            BIAS3=weights.bias3.shape[1],
            CHANNELS=max(FEWEST_COLUMNS, power_of_two(c)),
            HALF1=power_of_two(c1),
            HALF2=power_of_two(c - c1),
            WIDTH=max(FEWEST_COLUMNS, power_of_two(hidden)),
            COLUMNS=BLOCK_COLUMNS,
            # Measured: where rows are few, they wait for weights; float32's and those of more rows do not fit twice.
            STAGES=3 if weights.weight1.dtype == torch.bfloat16 and tile.rows == FEWEST_ROWS else 1,
            FLOOR=transform.scale_floor if isinstance(transform, ShiftAndScale) else 0.0,
        )

    @property
    def scratch(self) -> int:
        """Numbers of a program's memory: the network's inputs (ROWS, HALF1), and its parts (9, ROWS, OUTPUTS HALF2)."""
        return self.ROWS * (self.HALF1 + 9 * self.OUTPUTS * self.HALF2)


def launch_options(tile: Tile, weights: Weights, programs: int) -> dict[str, int]:
    """Return the options of a launch, none of which changes a bit of the result."""
    options = {"num_warps": tile.warps, "num_stages": 1}  # loops that store may not load ahead, as with more stages
    weight = weights.weight1
    if (
        weight.is_cuda
        and weight.dtype == torch.bfloat16
        and tile.rows == MOST_ROWS
        and programs > multiprocessors(weight.device)
    ):
        options["maxnreg"] = 128  # half of the registers, so that two share a multiprocessor, and one need not wait
    return options


def multiprocessors(device: torch.device) -> int:
    """Return how many programs a device runs at once that share no registers; where Triton interprets, all."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else MOST_PROGRAMS


def memory_of_factors(device: torch.device) -> int:
    """Return the bytes of a multiprocessor's shared memory that the factors of a product may take."""
    optin = (
        torch.cuda.get_device_properties(device).shared_memory_per_block_optin
        if device.type == "cuda"
        else SHARED_MEMORY
    )
    return optin - OTHER_MEMORY


def power_of_two(n: int) -> int:
    """Round up to a power of two."""
    return 1 << (n - 1).bit_length()

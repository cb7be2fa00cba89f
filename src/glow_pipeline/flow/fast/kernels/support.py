"""The levels and devices that have kernels. Needs no Triton until a kernel is tried."""

import logging
from collections.abc import Sequence
from functools import cache
from threading import Timer

import torch
from torch import Tensor

from glow_pipeline.flow.coupling import FoldableCoupling
from glow_pipeline.flow.fast.execution import Execution, Precision
from glow_pipeline.flow.fast.kernels.kinds import Kernel, interpreted
from glow_pipeline.flow.fast.kernels.tile import Tile, multiprocessors
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.flow.transform import Shift, ShiftAndScale, Transform

logger = logging.getLogger(__name__)

MOST_PIXELS = 256  # of a level: those of an image are one program's
FEWEST_CHANNELS = 4  # of fewer, several threads would load a number that one of them overwrites
MOST_CHANNELS = 128
MOST_HIDDEN = 128
TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "tf32": 0.02, "bfloat16": 0.03}  # of a trial
PATIENCE = 3.0  # seconds after which a line says what is being compiled
CAPABILITY = (8, 0)  # of the first GPUs with tensor cores for bfloat16


def usable(execution: Execution, x: Tensor, steps: Sequence[FlowStep], kernel: Kernel = "forward") -> bool:
    """Return whether this kernel can compute a level with input x (B, C, H, W), and may.

    A training step asks only if it has `Execution.products`, and activations that are not reversible (`passes`).
    """
    coupling = steps[0].coupling
    if execution.kernels is False or not isinstance(coupling, FoldableCoupling):
        return False
    transform, hidden = coupling.transform, coupling.network.conv2.out_channels
    precision: Precision = execution.precision if kernel == "training" else "float32"
    b, c, h, w = x.shape
    if not isinstance(transform, Shift | ShiftAndScale) or not fits((c, h, w), transform, hidden):
        return False
    if interpreted():
        return execution.kernels is True
    if not x.is_cuda or x.dtype != torch.float32 or torch.version.hip is not None:
        return False
    if torch.cuda.get_device_capability(x.device) < CAPABILITY:
        return False
    crowded = Tile.of(h * w).count(b) > multiprocessors(x.device)
    return _works(kernel, x.device, (c, h, w), transform, hidden, precision, crowded)


def fits(shape: tuple[int, int, int], transform: Transform, hidden: int) -> bool:
    """Return whether there are kernels for a level of this shape (C, H, W)."""
    c, h, w = shape
    return (
        FEWEST_CHANNELS <= c <= MOST_CHANNELS
        and h * w <= MOST_PIXELS
        and hidden <= MOST_HIDDEN
        and type(transform) in (Shift, ShiftAndScale)
    )


@cache
def _works(
    kernel: Kernel,
    device: torch.device,
    shape: tuple[int, int, int],
    transform: Shift | ShiftAndScale,
    hidden: int,
    precision: Precision,
    crowded: bool,
) -> bool:
    """Return whether a kernel passes its `trial` on a level's shape (C, H, W); warn if it does not.

    `crowded` has a trial of its own: with more programs than multiprocessors some kernels are compiled otherwise.
    """
    try:
        from glow_pipeline.flow.fast.kernel_failures import FAILURES  # needs Triton
        from glow_pipeline.flow.fast.kernels.trial import trial
    except ImportError as error:
        return _fails(shape, str(error))
    slow = Timer(PATIENCE, logger.info, ("Compiling kernels for levels of %dx%dx%d (%s)", *shape, kernel))
    slow.daemon = True
    slow.start()
    try:
        difference = trial(kernel, device, shape, transform, hidden, precision, crowded=crowded)
    except FAILURES as error:
        return _fails(shape, f"{type(error).__name__}: {error}".splitlines()[0])
    finally:
        slow.cancel()
    return difference < TOLERANCE[precision] or _fails(shape, f"results differ by {difference:.1e}")


def _fails(shape: tuple[int, int, int], reason: str) -> bool:
    logger.warning("Levels of %dx%dx%d are computed without kernels, more slowly: %s", *shape, reason)
    return False

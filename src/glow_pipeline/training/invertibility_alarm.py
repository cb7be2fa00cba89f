"""An alarm for flows that no longer invert in floats: the likelihood may still rise when samples have long failed."""

import logging
import math
from typing import cast

import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import float32_convolutions
from glow_pipeline.flow.fast.folding import prepare
from glow_pipeline.flow.fast.fused import step_forward
from glow_pipeline.flow.glow import Level
from glow_pipeline.flow.permutation import InvertibleConv
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.flow.transform import ShiftAndScale

HALF_A_LEVEL = 0.5  # beyond it an image becomes another image

logger = logging.getLogger(__name__)


@torch.no_grad()
@float32_convolutions()
def invertibility(model: Glow, images: Tensor, noise: Tensor) -> dict[str, float]:
    """Measure how near a flow is to not being invertible; the model is not changed.

    Args:
        images: uint8 (B, C, H, W) below 2**n_bits.
        noise: the same shape, uniform in [0, 1).

    Returns:
        smallest_scale: the smallest scale of an affine coupling on these images; 1 if there is none, or the flow has no
            folded form. NaN counts as 0.
        largest_condition_number: the largest of the 1x1 convolutions' matrices; 1 for fixed permutations. A value
            that is not finite counts as inf.
        round_trip_error: largest |x - inverse(forward(x))| in grey levels, computed as samples are; NaN counts as inf.
    """
    x, _ = model.dequantization.forward(images, noise)
    return {
        "smallest_scale": _smallest_scale(model, x),
        "largest_condition_number": _largest_condition_number(model),
        "round_trip_error": _round_trip_error(model, x),
    }


class InvertibilityAlarm:
    """Warns once in a training, at the first figures by which images do not survive the round trip."""

    def __init__(self) -> None:
        self._warned = False

    def check(self, figures: dict[str, float]) -> None:
        """Check the figures that `invertibility` returned."""
        if self._warned or figures["round_trip_error"] <= HALF_A_LEVEL:
            return
        self._warned = True
        logger.warning(
            "the flow no longer inverts, so samples are not to be trusted: an image comes back with an error of "
            "%.3g grey levels (smallest coupling scale %.3g, largest condition number of a 1x1 convolution %.3g); "
            "lower train.lr, set train.max_grad_norm, or give affine couplings a model.scale_floor, e.g. 0.1",
            figures["round_trip_error"],
            figures["smallest_scale"],
            figures["largest_condition_number"],
        )


def _smallest_scale(model: Glow, x: Tensor) -> float:
    """Return the smallest scale, by the folded steps, which return their scales, whatever the model's execution is."""
    if not model.foldable:
        return 1.0
    z = x
    smallest = x.new_ones(())
    for number, level in enumerate(cast(list[Level], list(model.levels))):
        if number > 0:
            z, _, _ = model.splits[number - 1](z)
        z, _ = level.squeeze(z)
        prepared = prepare(cast(list[FlowStep], list(level.steps)))
        for step in prepared.folded:
            z, _, hidden = step_forward(z, step, prepared.transform)
            if isinstance(prepared.transform, ShiftAndScale):
                smallest = torch.minimum(smallest, hidden.saved[0].min())  # a NaN stays one
    return _unless_nan(smallest, 0.0)


def _largest_condition_number(model: Glow) -> float:
    """Return it, computed on the CPU, because not every device has float64; the matrices are small."""
    by_size: dict[int, list[Tensor]] = {}
    for conv in model.modules():
        if isinstance(conv, InvertibleConv):
            matrix = conv.matrix()
            by_size.setdefault(len(matrix), []).append(matrix)
    largest = 1.0
    for matrices in by_size.values():
        stacked = torch.stack(matrices).cpu().double()
        if not stacked.isfinite().all():
            return math.inf  # for which torch.linalg would raise an error
        largest = max(largest, _unless_nan(torch.linalg.cond(stacked).max(), math.inf))
    return largest


def _round_trip_error(model: Glow, x: Tensor) -> float:
    classes = torch.arange(len(x), device=x.device) % model.num_classes if model.y_condition else None
    with model.unchanging():
        try:
            back = model.inverse(model(x, classes)[0], classes)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # torch does not declare it
            return math.inf  # the plain layers refuse to invert a singular matrix
    return _unless_nan((x - back).abs().max() * model.dequantization.n_levels, math.inf)


def _unless_nan(value: Tensor, otherwise: float) -> float:
    number = value.item()
    return otherwise if math.isnan(number) else number

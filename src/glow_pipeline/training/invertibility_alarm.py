"""An alarm for flows that no longer invert in floats: the likelihood may still rise when samples have long failed."""

import logging
import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from glow_pipeline.errors import first_line
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.cuda_graph import GraphRecorder
from glow_pipeline.flow.fast.execution import float32_convolutions
from glow_pipeline.flow.fast.folding.prepared import prepare
from glow_pipeline.flow.fast.fused import step_forward
from glow_pipeline.flow.level import Level
from glow_pipeline.flow.permutation import InvertibleConv
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.flow.transform import ShiftAndScale
from glow_pipeline.images.transfer import HostCopy

HALF_A_LEVEL = 0.5  # beyond it an image becomes another image

logger = logging.getLogger(__name__)


class Invertibility:
    """A measurement of how near a flow is to not being invertible, always on the same images; it changes no flow.

    Args:
        model: the flow.
        images: uint8 (B, C, H, W) below 2**n_bits, on its device.
        noise: the same shape, uniform in [0, 1).
    """

    def __init__(self, model: Glow, images: Tensor, noise: Tensor) -> None:
        self._model, self._images, self._noise = model, images, noise
        self._recorded: tuple[torch.cuda.CUDAGraph, list[Tensor]] | None = None

    def record(self, recorder: GraphRecorder) -> None:
        """Record the measurement as a CUDA graph, if it can be: else the host launches more than a thousand kernels.

        The graph measures the weights as they are whenever it is replayed.
        """
        try:
            recorder.warm_up(self._compute)
            self._recorded = recorder.record(self._compute)
        except RuntimeError as error:
            logger.debug("the measurement of invertibility is not recorded: %s", first_line(error))

    def queue(self) -> Callable[[], dict[str, float]]:
        """Queue the measurement on the device; return a function that waits for the figures and returns them.

        The weights may be changed by what is queued later.

        Returns:
            smallest_scale: the smallest scale of an affine coupling on these images; 1 if there is none, or the flow
                has no folded form. NaN counts as 0.
            largest_condition_number: the largest of the 1x1 convolutions' matrices; 1 for fixed permutations. A value
                that is not finite counts as inf.
            round_trip_error: largest |x - inverse(forward(x))| in grey levels, computed as samples are; NaN counts as
                inf.
        """
        if self._recorded is None:
            copies = HostCopy(*self._compute())
        else:
            graph, results = self._recorded
            graph.replay()
            copies = HostCopy(*results)

        def figures() -> dict[str, float]:
            scale, error, *matrices = copies.get()
            return {
                "smallest_scale": _unless_nan(scale, 0.0),
                "largest_condition_number": _largest_condition_number(matrices),
                "round_trip_error": _unless_nan(error, math.inf),
            }

        return figures

    @torch.no_grad()
    @float32_convolutions()
    def _compute(self) -> list[Tensor]:
        x, _ = self._model.dequantization.forward(self._images, self._noise)
        return [_smallest_scale(self._model, x), _round_trip_error(self._model, x), *_matrices(self._model)]


class InvertibilityAlarm:
    """Warns once in a training, at the first figures by which images do not survive the round trip."""

    def __init__(self) -> None:
        self._warned = False

    def check(self, figures: dict[str, float]) -> None:
        """Check the figures of an `Invertibility`."""
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


def _smallest_scale(model: Glow, x: Tensor) -> Tensor:
    """Return the smallest scale, by the folded steps, which return their scales, whatever the model's execution is."""
    smallest = x.new_ones(())
    if not model.foldable:
        return smallest
    z = x
    for number, level in enumerate(cast(list[Level], list(model.levels))):
        if number > 0:
            z, _, _ = model.splits[number - 1](z)
        z, _ = level.squeeze(z)
        prepared = prepare(cast(list[FlowStep], list(level.steps)))
        for step in prepared.steps:
            z, _, hidden = step_forward(z, step, prepared.transform)
            if isinstance(prepared.transform, ShiftAndScale):
                smallest = torch.minimum(smallest, hidden.saved[0].min())  # a NaN stays one
    return smallest


def _matrices(model: Glow) -> list[Tensor]:
    """Return the matrices of the 1x1 convolutions, (n, C, C) for each C."""
    by_size: dict[int, list[Tensor]] = {}
    for conv in model.modules():
        if isinstance(conv, InvertibleConv):
            matrix = conv.matrix()
            by_size.setdefault(len(matrix), []).append(matrix)
    return [torch.stack(matrices) for matrices in by_size.values()]


def _largest_condition_number(matrices: list[Tensor]) -> float:
    """Return it, computed on the CPU, because not every device has float64; the matrices are small."""
    largest = 1.0
    for of_a_size in matrices:
        stacked = of_a_size.double()
        if not stacked.isfinite().all():
            return math.inf  # for which torch.linalg would raise an error
        largest = max(largest, _unless_nan(torch.linalg.cond(stacked).max(), math.inf))
    return largest


def _round_trip_error(model: Glow, x: Tensor) -> Tensor:
    classes = torch.arange(len(x), device=x.device) % model.num_classes if model.y_condition else None
    with model.unchanging():
        try:
            back = model.inverse(model(x, classes)[0], classes)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # torch does not declare it
            return x.new_full((), math.inf)  # the plain layers refuse to invert a singular matrix
    return (x - back).abs().max() * model.dequantization.n_levels


def _unless_nan(value: Tensor, otherwise: float) -> float:
    number = value.item()
    return otherwise if math.isnan(number) else number

"""The folded form of a level, computed from the stacked parameters of its steps."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from glow_pipeline.flow.coupling import FoldableCoupling, is_foldable
from glow_pipeline.flow.float64 import float64_device
from glow_pipeline.flow.permutation import factorized_at_once
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.flow.transform import Transform


class LevelParameters(NamedTuple):
    """The parameters of a level's K steps, one tensor for each kind."""

    log_scale: Tensor  # (K, C)
    shift: Tensor  # (K, C)
    permutation: Tensor  # (K, C, C)
    convolution1: tuple[Tensor, Tensor, Tensor]  # weight (K, out, h, w, in), bias (K, out), log-scale (K, out)
    convolution2: tuple[Tensor, Tensor, Tensor]
    convolution3: tuple[Tensor, Tensor, Tensor]


class Folded(NamedTuple):
    """A step as a linear map of the channels and three convolutions; of all K steps with K as the first dimension."""

    matrix: Tensor  # (C, C)
    bias: Tensor  # (C,)
    weight1: Tensor  # (hidden, C1, 3, 3), channels last, as all that it is multiplied with
    bias1: Tensor  # (hidden,)
    weight2: Tensor  # (hidden, hidden, 1, 1)
    bias2: Tensor  # (hidden,)
    weight3: Tensor  # (out, hidden, 3, 3), out = outputs_per_channel * C2
    bias3: Tensor  # (out,)


def fold(parameters: LevelParameters, network_dtype: torch.dtype | None) -> tuple[Folded, Tensor]:
    """Return the folded parameters of all K steps, and the sum of the actnorms' log-scales, a scalar.

    Args:
        parameters: of the steps.
        network_dtype: dtype of the folded convolutions; None: the parameters' own.
    """
    matrices = parameters.permutation * parameters.log_scale.exp()[:, None, :]
    biases = (matrices @ parameters.shift[:, :, None]).squeeze(2)
    weight3, bias3, log_scale3 = parameters.convolution3
    convolutions = (
        *_scaled(*parameters.convolution1),
        *_scaled(*parameters.convolution2),
        *_scaled(weight3, bias3, 3 * log_scale3),  # as `ZeroConv` has it
    )
    low = [tensor.to(network_dtype or tensor.dtype) for tensor in convolutions]
    return Folded(matrices, biases, *low), parameters.log_scale.sum()


def _scaled(channels_last: Tensor, bias: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Scale K convolutions: return weights (K, out, in, h, w) and biases (K, out)."""
    scale = log_scale.exp()
    return (channels_last * scale[:, :, None, None, None]).permute(0, 1, 4, 2, 3), bias * scale


def inverse_matrices(matrices: Tensor) -> list[Tensor]:
    """Invert matrices (K, C, C), in float64: rounding in float32 would be the largest error of a round trip.

    `inv_ex` does not make the host wait for the device to report a singular matrix; the inverse of one is not finite,
    and neither is any later result.
    """
    matrices = matrices.detach()
    exact = matrices.to(float64_device(matrices.device)).double()
    inverses = [torch.linalg.inv_ex(part).inverse.to(matrices) for part in factorized_at_once(exact)]
    return [inverse for part in inverses for inverse in part]  # not torch.cat: strides can change the last bits


def check_foldable(steps: Sequence[FlowStep]) -> None:
    """Check that the couplings have a folded form.

    Raises:
        ValueError: they have none.
    """
    if not all(is_foldable(type(step.coupling)) for step in steps):
        raise ValueError(f"{type(steps[0].coupling).__name__} has no folded form: compute the flow with execution=None")


def transform_of(steps: Sequence[FlowStep]) -> Transform:
    """Return how the couplings of foldable steps change their second half."""
    return cast(FoldableCoupling, steps[0].coupling).transform

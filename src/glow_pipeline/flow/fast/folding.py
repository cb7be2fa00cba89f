"""Fold the parameters of a level's steps into the form that `fused` computes with.

Actnorm and permutation become one matrix; the actnorms and scales inside a coupling network become part of its
convolutions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import torch
from torch import Tensor

from glow_pipeline.flow.coupling import FoldableCoupling, is_foldable
from glow_pipeline.flow.permutation import factorized_at_once, log_abs_dets
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.flow.transform import Transform


class Folded(NamedTuple):
    """A step's parameters as a linear map of the channels and three convolutions."""

    matrix: Tensor  # (C, C)
    bias: Tensor  # (C,)
    weight1: Tensor  # (hidden, C1, 3, 3), channels last, as all that it is multiplied with
    bias1: Tensor
    weight2: Tensor  # (hidden, hidden, 1, 1)
    bias2: Tensor
    weight3: Tensor  # (C2 or 2 C2, hidden, 3, 3)
    bias3: Tensor


@dataclass(frozen=True)
class Prepared:
    """The folded parameters of a level, valid until the parameters change.

    Attributes:
        stacked: those of all K steps, each tensor with K as its first dimension.
        log_abs_det: log|det| of the linear parts of all steps together, for one pixel; a scalar.
        transform: how the couplings change their second half.
    """

    stacked: Folded
    log_abs_det: Tensor
    transform: Transform

    @cached_property
    def folded(self) -> list[Folded]:
        """The folded parameters, one a step."""
        return [Folded(*tensors) for tensors in zip(*(tensor.unbind() for tensor in self.stacked), strict=True)]

    @cached_property
    def inverse_matrices(self) -> list[Tensor]:
        """The inverses (C, C) of all matrices."""
        return inverse_matrices(self.stacked.matrix)


class Stacked(NamedTuple):
    """The parameters of a level's K steps, of each kind as one tensor."""

    log_scale: Tensor  # (K, C)
    shift: Tensor  # (K, C)
    permutation: Tensor  # (K, C, C)
    convolution1: tuple[Tensor, Tensor, Tensor]  # weight (K, out, h, w, in), bias (K, out), log-scale (K, out)
    convolution2: tuple[Tensor, Tensor, Tensor]
    convolution3: tuple[Tensor, Tensor, Tensor]


def prepare(steps: Sequence[FlowStep], network_dtype: torch.dtype | None = None) -> Prepared:
    """Fold the parameters of a level; all steps together, because a small operation costs as much as its call.

    Args:
        steps: of one level, with couplings of one class.
        network_dtype: dtype of the folded convolutions; None: the parameters' own.

    Raises:
        ValueError: the couplings have no folded form.
    """
    folded, log_scale = fold(stacked_parameters(steps), network_dtype)
    return Prepared(folded, log_scale + log_abs_dets([step.permutation for step in steps]), transform_of(steps))


def stacked_parameters(steps: Sequence[FlowStep]) -> Stacked:
    """Stack the parameters of a level's steps.

    Raises:
        ValueError: the couplings have no folded form.
    """
    if not all(is_foldable(type(step.coupling)) for step in steps):
        raise ValueError(f"{type(steps[0].coupling).__name__} has no folded form: compute the flow with execution=None")
    networks = [cast(FoldableCoupling, step.coupling).network for step in steps]
    log_scale = _stacked([step.actnorm.log_scale for step in steps])
    return Stacked(
        log_scale,
        _stacked([step.actnorm.bias for step in steps]),
        torch.stack([step.permutation.matrix() for step in steps]).to(log_scale),
        _stacked_convolution([(n.conv1.weight, n.actnorm1.bias, n.actnorm1.log_scale) for n in networks]),
        _stacked_convolution([(n.conv2.weight, n.actnorm2.bias, n.actnorm2.log_scale) for n in networks]),
        _stacked_convolution(
            [(n.conv3.conv.weight, cast(Tensor, n.conv3.conv.bias), n.conv3.log_scale) for n in networks]
        ),
    )


def _stacked(vectors: list[Tensor]) -> Tensor:
    return torch.stack([vector.flatten() for vector in vectors])


def _stacked_convolution(convolutions: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    weights, biases, log_scales = (list(kind) for kind in zip(*convolutions, strict=True))
    channels_last = torch.stack([weight.permute(0, 2, 3, 1) for weight in weights])
    return channels_last, _stacked(biases), _stacked(log_scales)


def transform_of(steps: Sequence[FlowStep]) -> Transform:
    """Return how the couplings of foldable steps change their second half."""
    return cast(FoldableCoupling, steps[0].coupling).transform


def fold(stacked: Stacked, network_dtype: torch.dtype | None) -> tuple[Folded, Tensor]:
    """Return the folded parameters of all steps, stacked, and the sum of the actnorms' log-scales."""
    matrices = stacked.permutation * stacked.log_scale.exp()[:, None, :]
    biases = (matrices @ stacked.shift[:, :, None]).squeeze(2)
    weight3, bias3, log_scale3 = stacked.convolution3
    convolutions = (
        *_scaled(*stacked.convolution1),
        *_scaled(*stacked.convolution2),
        *_scaled(weight3, bias3, 3 * log_scale3),  # as `ZeroConv` has it
    )
    low = [tensor.to(network_dtype or tensor.dtype) for tensor in convolutions]
    return Folded(matrices, biases, *low), stacked.log_scale.sum()


def _scaled(channels_last: Tensor, bias: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Scale K convolutions: return weights (K, out, in, h, w) and biases (K, out)."""
    scale = log_scale.exp()
    return (channels_last * scale[:, :, None, None, None]).permute(0, 1, 4, 2, 3), bias * scale


def inverse_matrices(matrices: Tensor) -> list[Tensor]:
    """Invert matrices (K, C, C), in float64: rounding in float32 would be the largest error of a round trip.

    MPS has no float64, so the CPU does it there. `inv_ex` does not make the host wait for the device to report a
    singular matrix; the inverse of one is not finite, and neither is any later result.
    """
    matrices = matrices.detach()
    exact = (matrices.cpu() if matrices.device.type == "mps" else matrices).double()
    inverses = [torch.linalg.inv_ex(part).inverse.to(matrices) for part in factorized_at_once(exact)]
    return [inverse for part in inverses for inverse in part]  # not torch.cat: strides can change the last bits

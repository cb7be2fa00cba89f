"""Fold the parameters of a level from its layers: once for many passes, or with gradients for a step of `fused`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from glow_pipeline.flow.coupling import FoldableCoupling
from glow_pipeline.flow.fast.folding.factors import Weights, factors_of
from glow_pipeline.flow.fast.folding.folded import (
    Folded,
    LevelParameters,
    check_foldable,
    fold,
    inverse_matrices,
    transform_of,
)
from glow_pipeline.flow.permutation import log_abs_dets
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.flow.transform import Transform


@dataclass(frozen=True)
class Prepared:
    """The folded parameters of a level, valid until the parameters change.

    Attributes:
        stacked: those of all K steps, with K as the first dimension.
        log_abs_det: log|det| of the linear parts of all steps together, for one pixel; a scalar.
        transform: how the couplings change their second half.
    """

    stacked: Folded
    log_abs_det: Tensor
    transform: Transform

    @cached_property
    def steps(self) -> list[Folded]:
        """The folded parameters of each step."""
        return [Folded(*tensors) for tensors in zip(*(tensor.unbind() for tensor in self.stacked), strict=True)]

    @cached_property
    def factors(self) -> Weights:
        """The folded parameters as factors of products."""
        return factors_of(self.stacked)

    @cached_property
    def inverse_matrices(self) -> list[Tensor]:
        """The inverses (C, C) of all matrices."""
        return inverse_matrices(self.stacked.matrix)


def prepare(steps: Sequence[FlowStep], network_dtype: torch.dtype | None = None) -> Prepared:
    """Fold the parameters of a level; all steps together, because a small operation costs as much as its call.

    Args:
        steps: of one level, with couplings of one class.
        network_dtype: dtype of the folded convolutions; None: the parameters' own.

    Raises:
        ValueError: the couplings have no folded form.
    """
    check_foldable(steps)
    folded, log_scale = fold(_level_parameters(steps), network_dtype)
    return Prepared(folded, log_scale + log_abs_dets([step.permutation for step in steps]), transform_of(steps))


def _level_parameters(steps: Sequence[FlowStep]) -> LevelParameters:
    """Stack the parameters of foldable steps."""
    networks = [cast(FoldableCoupling, step.coupling).network for step in steps]
    log_scale = _stacked([step.actnorm.log_scale for step in steps])
    return LevelParameters(
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

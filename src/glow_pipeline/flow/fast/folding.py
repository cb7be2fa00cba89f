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
from glow_pipeline.flow.permutation import log_abs_dets
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
        folded: one a step.
        log_abs_det: log|det| of the linear parts of all steps together, for one pixel; a scalar.
        transform: how the couplings change their second half.
    """

    folded: list[Folded]
    log_abs_det: Tensor
    transform: Transform

    @cached_property
    def inverse_matrices(self) -> list[Tensor]:
        """The inverses (C, C) of all matrices."""
        return inverse_matrices(self.folded)


def prepare(steps: Sequence[FlowStep], network_dtype: torch.dtype | None = None) -> Prepared:
    """Fold the parameters of a level; all steps together, because a small operation costs as much as its call.

    Args:
        steps: of one level, with couplings of one class.
        network_dtype: dtype of the folded convolutions; None: the parameters' own.

    Raises:
        ValueError: the couplings have no folded form.
    """
    if not all(is_foldable(type(step.coupling)) for step in steps):
        raise ValueError(f"{type(steps[0].coupling).__name__} has no folded form: compute the flow with execution=None")
    couplings = [cast(FoldableCoupling, step.coupling) for step in steps]
    log_scales = torch.stack([step.actnorm.log_scale.flatten() for step in steps])  # (K, C)
    shifts = torch.stack([step.actnorm.bias.flatten() for step in steps])
    permutations = torch.stack([step.permutation.matrix() for step in steps]).to(log_scales)  # (K, C, C)
    matrices = permutations * log_scales.exp()[:, None, :]
    biases = (matrices @ shifts[:, :, None]).squeeze(2)
    networks = [coupling.network for coupling in couplings]
    convolutions = (
        *_scaled([(n.conv1.weight, n.actnorm1.bias, n.actnorm1.log_scale) for n in networks]),
        *_scaled([(n.conv2.weight, n.actnorm2.bias, n.actnorm2.log_scale) for n in networks]),
        *_scaled([(n.conv3.conv.weight, cast(Tensor, n.conv3.conv.bias), 3 * n.conv3.log_scale) for n in networks]),
    )
    stacked = (matrices, biases, *(tensor.to(network_dtype or tensor.dtype) for tensor in convolutions))
    return Prepared(
        [Folded(*tensors) for tensors in zip(*(tensor.unbind() for tensor in stacked), strict=True)],
        log_scales.sum() + log_abs_dets([step.permutation for step in steps]),
        couplings[0].transform,
    )


def _scaled(convolutions: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Scale K convolutions of weight, bias and log-scale: return weights (K, out, in, h, w) and biases (K, out)."""
    weights, biases, log_scales = zip(*convolutions, strict=True)
    scales = torch.stack([each.flatten() for each in log_scales]).exp()
    channels_last = torch.stack([weight.permute(0, 2, 3, 1) for weight in weights])
    scaled = (channels_last * scales[:, :, None, None, None]).permute(0, 1, 4, 2, 3)
    return scaled, torch.stack([bias.flatten() for bias in biases]) * scales


def inverse_matrices(folded: list[Folded]) -> list[Tensor]:
    """Invert all matrices (C, C), in float64: rounding in float32 would be the largest error of a round trip.

    MPS has no float64, so the CPU does it there. `inv_ex` does not make the host wait for the device to report a
    singular matrix; the inverse of one is not finite, and neither is any later result.
    """
    matrices = torch.stack([step.matrix.detach() for step in folded])
    exact = (matrices.cpu() if matrices.device.type == "mps" else matrices).double()
    return list(torch.linalg.inv_ex(exact).inverse.to(matrices))

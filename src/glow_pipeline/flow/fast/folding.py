"""The parameters of a level's steps in the form that `fused` computes with.

Actnorm and permutation become one matrix; the actnorms and scales inside a coupling network belong to its convolutions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import torch
from torch import Tensor

from glow_pipeline.flow.permutation import log_abs_dets
from glow_pipeline.flow.step import FlowStep


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
    """What a level's parameters come to, for any number of passes until they change.

    Attributes:
        folded: of each step.
        log_abs_det: the log|det| of the linear parts of all steps a pixel, a scalar.
        scale_floor: of the affine couplings; None: they are additive.
    """

    folded: list[Folded]
    log_abs_det: Tensor
    scale_floor: float | None

    @cached_property
    def inverse_matrices(self) -> list[Tensor]:
        """Inverses (C, C) of all matrices."""
        return inverse_matrices(self.folded)


def prepare(steps: Sequence[FlowStep], network_dtype: torch.dtype | None = None) -> Prepared:
    """Fold the parameters of a level; all steps together, because a small operation costs as much as its call.

    Args:
        network_dtype: that of the convolutions; None: the parameters' own.
    """
    log_scales = torch.stack([step.actnorm.log_scale.flatten() for step in steps])  # (K, C)
    shifts = torch.stack([step.actnorm.bias.flatten() for step in steps])
    permutations = torch.stack([step.permutation.matrix() for step in steps]).to(log_scales)  # (K, C, C)
    matrices = permutations * log_scales.exp()[:, None, :]
    biases = (matrices @ shifts[:, :, None]).squeeze(2)
    networks = [step.coupling.network for step in steps]
    convolutions = (
        *_scaled([(n.conv1.weight, n.actnorm1.bias, n.actnorm1.log_scale) for n in networks]),
        *_scaled([(n.conv2.weight, n.actnorm2.bias, n.actnorm2.log_scale) for n in networks]),
        *_scaled([(n.conv3.conv.weight, cast(Tensor, n.conv3.conv.bias), 3 * n.conv3.log_scale) for n in networks]),
    )
    stacked = (matrices, biases, *(tensor.to(network_dtype or tensor.dtype) for tensor in convolutions))
    return Prepared(
        [Folded(*of_step) for of_step in zip(*(tensor.unbind() for tensor in stacked), strict=True)],
        log_scales.sum() + log_abs_dets([step.permutation for step in steps]),
        steps[0].coupling.scale_floor,
    )


def _scaled(convolutions: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Weights, biases and log-scales of K convolutions -> weights (K, out, in, h, w) and biases (K, out), scaled."""
    weights, biases, log_scales = zip(*convolutions, strict=True)
    scales = torch.stack([each.flatten() for each in log_scales]).exp()
    channels_last = torch.stack([weight.permute(0, 2, 3, 1) for weight in weights])
    scaled = (channels_last * scales[:, :, None, None, None]).permute(0, 1, 4, 2, 3)
    return scaled, torch.stack([bias.flatten() for bias in biases]) * scales


def inverse_matrices(folded: list[Folded]) -> list[Tensor]:
    """Inverses (C, C) of all matrices, in float64: rounded to float32 they would be a round trip's largest error.

    MPS has no float64, so there the CPU is asked. `inv_ex` does not make the host wait for the device to say whether
    a matrix is singular; then the inverse is not finite, and so is all that follows.
    """
    matrices = torch.stack([step.matrix.detach() for step in folded])
    exact = (matrices.cpu() if matrices.device.type == "mps" else matrices).double()
    return list(torch.linalg.inv_ex(exact).inverse.to(matrices))

"""Fold the parameters of a level for a training step on a GPU, in one compiled region with its gradient.

All parameters enter it as one matrix (`level_matrix`), and so their gradients leave it as one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.flow.fast.folding.factors import Weights, factors_of
from glow_pipeline.flow.fast.folding.folded import LevelParameters, check_foldable, fold
from glow_pipeline.flow.fast.folding.level_matrix import Layout, layout_of, level_matrix, parameters_in
from glow_pipeline.flow.fast.folding.permutations import Permutation, fixed_tensors, matrices_and_log_abs_det
from glow_pipeline.flow.step import FlowStep


def folded_weights(steps: Sequence[FlowStep], execution: Execution, pixels: int) -> tuple[Weights, Tensor]:
    """Fold the parameters of a level to the factors of products.

    Returns:
        The weights of all K steps, and log|det| of their linear parts together, for an image of so many pixels; a
        scalar.

    Raises:
        ValueError: the couplings have no folded form.
    """
    check_foldable(steps)
    permutations = [step.permutation for step in steps]
    layout = layout_of(steps[0])
    matrix = level_matrix(steps, layout)
    fixed = fixed_tensors(permutations, parameters_in(matrix.detach(), layout))
    return execution.maybe_compiled(fold_matrix)(
        matrix, layout, type(permutations[0]), fixed, execution.network_dtype, pixels
    )


def fold_matrix(
    matrix: Tensor,
    layout: Layout,
    permutation: type[Permutation],
    fixed: tuple[Tensor, ...],
    network_dtype: torch.dtype | None,
    pixels: int,
) -> tuple[Weights, Tensor]:
    """Compute the part of `folded_weights` that is compiled.

    Args:
        matrix, layout: parameters of the level, as `level_matrix` and `layout_of` return them.
        permutation: class of the level's permutations.
        fixed: what `fixed_tensors` returns for them.
        network_dtype: dtype of the folded convolutions; None: the parameters' own.
        pixels: as in `folded_weights`.
    """
    parameters = parameters_in(matrix, layout)
    log_scale = parameters["actnorm.log_scale"].flatten(1)
    matrices, log_abs_det = matrices_and_log_abs_det(permutation, parameters, fixed, log_scale)
    level = LevelParameters(
        log_scale,
        parameters["actnorm.bias"].flatten(1),
        matrices,
        _convolution(parameters, "conv1.weight", "actnorm1.bias", "actnorm1.log_scale"),
        _convolution(parameters, "conv2.weight", "actnorm2.bias", "actnorm2.log_scale"),
        _convolution(parameters, "conv3.conv.weight", "conv3.conv.bias", "conv3.log_scale"),
    )
    folded, log_scale_sum = fold(level, network_dtype)
    bias = (folded.matrix * level.shift[:, None, :]).sum(dim=2)  # `fold`'s product with a vector is a kernel alone
    return factors_of(folded._replace(bias=bias)), pixels * (log_scale_sum + log_abs_det)


def _convolution(
    parameters: dict[str, Tensor], weight: str, bias: str, log_scale: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return weight (K, out, h, w, in), bias (K, out) and log-scale (K, out)."""
    weights, biases, log_scales = (parameters[f"coupling.network.{name}"] for name in (weight, bias, log_scale))
    return weights.permute(0, 1, 3, 4, 2), biases.flatten(1), log_scales.flatten(1)

"""The steps of a level in fewer and larger operations, with a backward pass of their own.

The plain layers say what a step is: actnorm, permutation, coupling. Here the same map is computed with their parameters
folded together: actnorm and permutation are one 1x1 convolution, the actnorms and scales inside a coupling network
belong to its convolutions. Tests hold both to each other.

The backward pass is written out because it then keeps what it needs and no more, and can do without: a step's input is
the step before's output, and of a step everything else follows from its output y = [x1, y2]. What is kept between the
two passes is a choice, whose gradients are the same:

    stored        outputs, and the hidden layers of the coupling networks
    checkpointed  outputs; the hidden layers are computed again
    reversible    the last output; the others are computed back from it, in memory that K does not change
                  (Gomez et al. 2017, arXiv:1707.04585)
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from glow_pipeline.flow.permutation import log_abs_dets

if TYPE_CHECKING:
    from glow_pipeline.flow.step import FlowStep

Activations = Literal["stored", "checkpointed", "reversible"]


@dataclass(frozen=True)
class Execution:
    """How a flow is computed, which changes what it costs and not what it is.

    Attributes:
        activations: what a training step keeps for its backward pass.
        network_dtype: of the coupling networks' convolutions; None: that of the flow. The state of the flow, the
            log-determinants and all sums stay in the flow's own dtype.
    """

    activations: Activations = "stored"
    network_dtype: torch.dtype | None = None


class Folded(NamedTuple):
    """A step's parameters as three convolutions and a 1x1 convolution in front of them."""

    matrix: Tensor  # (C, C, 1, 1)
    bias: Tensor  # (C,)
    weight1: Tensor  # (hidden, C1, 3, 3)
    bias1: Tensor
    weight2: Tensor  # (hidden, hidden, 1, 1)
    bias2: Tensor
    weight3: Tensor  # (C2 or 2 C2, hidden, 3, 3)
    bias3: Tensor


class Hidden(NamedTuple):
    """What a coupling network and its scale left behind, for the backward pass."""

    first: Tensor  # (B, hidden, H, W), behind the first ReLU
    second: Tensor  # behind the second
    scale: Tensor | None  # (B, C2, H, W) of an affine coupling


@dataclass(frozen=True)
class Prepared:
    """What a level's parameters come to, for any number of passes until they change.

    Attributes:
        folded: of each step.
        log_abs_det: the log|det| of the linear parts of all steps a pixel, a scalar.
        affine: whether the couplings are.
    """

    folded: list[Folded]
    log_abs_det: Tensor
    affine: bool

    @cached_property
    def inverse_matrices(self) -> list[Tensor]:
        """Inverses (C, C, 1, 1) of all matrices."""
        return _inverses(self.folded)


def prepare(steps: "list[FlowStep]") -> Prepared:
    """Fold the parameters of a level; all steps together, because a small operation costs as much as its call."""
    log_scales = torch.stack([step.actnorm.log_scale.flatten() for step in steps])  # (K, C)
    shifts = torch.stack([step.actnorm.bias.flatten() for step in steps])
    permutations = torch.stack([step.permutation.matrix() for step in steps]).to(log_scales)  # (K, C, C)
    matrices = permutations * log_scales.exp()[:, None, :]
    biases = (matrices @ shifts[:, :, None]).squeeze(2)
    networks = [step.coupling.network for step in steps]
    stacked = (
        matrices[..., None, None],
        biases,
        *_scaled([(n.conv1.weight, n.actnorm1.bias, n.actnorm1.log_scale) for n in networks]),
        *_scaled([(n.conv2.weight, n.actnorm2.bias, n.actnorm2.log_scale) for n in networks]),
        *_scaled([(n.conv3.conv.weight, cast(Tensor, n.conv3.conv.bias), 3 * n.conv3.log_scale) for n in networks]),
    )
    return Prepared(
        [Folded(*of_step) for of_step in zip(*(tensor.unbind() for tensor in stacked), strict=True)],
        log_scales.sum() + log_abs_dets([step.permutation for step in steps]),
        steps[0].coupling.affine,
    )


def _scaled(convs: "list[tuple[Tensor, Tensor, Tensor]]") -> tuple[Tensor, Tensor]:
    """Weights, biases and log-scales of K convolutions -> weights (K, out, in, h, w) and biases (K, out), scaled."""
    weights, biases, log_scales = zip(*convs, strict=True)
    scales = torch.stack([each.flatten() for each in log_scales]).exp()
    return torch.stack(weights) * scales[:, :, None, None, None], torch.stack([b.flatten() for b in biases]) * scales


def run(level: Prepared, x: Tensor, execution: Execution) -> tuple[Tensor, Tensor]:
    """All steps of a level: x (B, C, H, W) -> y of the same shape, logdet (B,)."""
    if torch.is_grad_enabled():
        flat = [tensor for step in level.folded for tensor in step]
        y, logdet = _Steps.apply(x, execution, level.affine, *flat)
    else:
        y, logdet = x, x.new_zeros(len(x))
        for step in level.folded:
            y, step_logdet, _ = step_forward(y, step, level.affine, execution.network_dtype)
            logdet = logdet + step_logdet
    return y, logdet + level.log_abs_det * (x.shape[2] * x.shape[3])


def inverse(level: Prepared, y: Tensor) -> Tensor:
    """The inverse of `run`."""
    for step, matrix in zip(reversed(level.folded), reversed(level.inverse_matrices), strict=True):
        y = step_inverse(y, step, matrix, level.affine)
    return y


def _inverses(folded: list[Folded]) -> list[Tensor]:
    """Inverses (C, C, 1, 1) of all matrices, in float64: rounded to float32 they would be a round trip's largest error.

    MPS has no float64, so there the CPU is asked. `inv_ex` does not make the host wait for the device to say whether
    a matrix is singular; then the inverse is not finite, and so is all that follows.
    """
    matrices = torch.stack([step.matrix.detach().flatten(1) for step in folded])
    exact = (matrices.cpu() if matrices.device.type == "mps" else matrices).double()
    return list(torch.linalg.inv_ex(exact).inverse.to(matrices)[..., None, None])


def step_forward(
    x: Tensor, step: Folded, affine: bool, network_dtype: torch.dtype | None
) -> tuple[Tensor, Tensor, Hidden]:
    """x (B, C, H, W) -> y, the coupling's logdet (B,), and what its network left behind."""
    y = F.conv2d(x, step.matrix, step.bias)
    c1 = step.weight1.shape[1]
    y1, y2 = y[:, :c1], y[:, c1:]
    out, first, second = network(y1, step, network_dtype)
    if not affine:
        y2 += out
        return y, y.new_zeros(len(y)), Hidden(first, second, None)
    shift, s = out.chunk(2, dim=1)
    log_scale = F.logsigmoid(s + 2)
    scale = log_scale.exp()
    y2.add_(shift).mul_(scale)
    return y, log_scale.sum(dim=(1, 2, 3)), Hidden(first, second, scale)


def network(y1: Tensor, step: Folded, dtype: torch.dtype | None) -> tuple[Tensor, Tensor, Tensor]:
    """The coupling network: (B, C1, H, W) -> its output in y1's dtype, and both hidden layers in its own."""
    weights = step[2:] if dtype is None else [tensor.to(dtype) for tensor in step[2:]]
    weight1, bias1, weight2, bias2, weight3, bias3 = weights
    first = F.conv2d(y1.to(weight1.dtype), weight1, bias1, padding=1).relu_()
    second = F.conv2d(first, weight2, bias2).relu_()
    return F.conv2d(second, weight3, bias3, padding=1).to(y1.dtype), first, second


def step_inverse(y: Tensor, step: Folded, inverse_matrix: Tensor, affine: bool) -> Tensor:
    """The inverse of a step, given the inverse of its matrix (C, C, 1, 1)."""
    out, *_ = network(y[:, : step.weight1.shape[1]], step, None)
    return _inverse_given(out, y, step, inverse_matrix, affine)


def _inverse_given(out: Tensor, y: Tensor, step: Folded, inverse_matrix: Tensor, affine: bool) -> Tensor:
    """`step_inverse`, given what the coupling network answered."""
    c1 = step.weight1.shape[1]
    y1, y2 = y[:, :c1], y[:, c1:]
    if affine:
        shift, s = out.chunk(2, dim=1)
        x2 = y2 * torch.exp(-F.logsigmoid(s + 2)) - shift
    else:
        x2 = y2 - out
    return F.conv2d(torch.cat([y1, x2], dim=1) - step.bias[:, None, None], inverse_matrix)


def step_backward(
    grad_y: Tensor, grad_logdet: Tensor, x: Tensor, y: Tensor, hidden: Hidden, step: Folded
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of a step's input and of its eight folded parameters.

    With y2 = (x2 + shift) * scale and scale = sigmoid(s + 2): dy2/ds = y2 (1 - scale), dlogdet/ds = 1 - scale.
    """
    c1 = step.weight1.shape[1]
    grad_y1, grad_y2 = grad_y[:, :c1], grad_y[:, c1:]
    if hidden.scale is None:
        grad_x2 = grad_out = grad_y2
    else:
        grad_x2 = grad_y2 * hidden.scale
        grad_s = torch.addcmul(grad_logdet[:, None, None, None], grad_y2, y[:, c1:]) * (1 - hidden.scale)
        grad_out = torch.cat([grad_x2, grad_s], dim=1)
    low = hidden.first.dtype
    weight1, weight2, weight3 = (weight.to(low) for weight in (step.weight1, step.weight2, step.weight3))
    grad_hidden, grad_weight3, grad_bias3 = _conv_backward(grad_out.to(low), hidden.second, weight3, padding=1)
    grad_hidden = torch.ops.aten.threshold_backward(grad_hidden, hidden.second, 0)
    grad_hidden, grad_weight2, grad_bias2 = _conv_backward(grad_hidden, hidden.first, weight2)
    grad_hidden = torch.ops.aten.threshold_backward(grad_hidden, hidden.first, 0)
    grad_x1, grad_weight1, grad_bias1 = _conv_backward(grad_hidden, y[:, :c1].to(low), weight1, padding=1)
    grad_mixed = torch.cat([grad_y1 + grad_x1, grad_x2], dim=1)
    grad_x, grad_matrix, grad_bias = _conv_backward(grad_mixed, x, step.matrix)
    return grad_x, [
        grad_matrix,
        grad_bias,
        *(
            gradient.to(x.dtype)
            for gradient in (grad_weight1, grad_bias1, grad_weight2, grad_bias2, grad_weight3, grad_bias3)
        ),
    ]


def _conv_backward(grad: Tensor, x: Tensor, weight: Tensor, padding: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, weight and bias of a stride-1 convolution."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, [weight.shape[0]], [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, [True, True, True]
    )
    return gradients


class _Steps(torch.autograd.Function):
    """The steps of a level as one node of autograd's graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, execution: Execution, affine: bool, *flat: Tensor) -> tuple[Tensor, Tensor]:
        folded = _unflattened(flat)
        kept: list[Tensor] = []
        logdet = x.new_zeros(len(x))
        y = x
        for step in folded:
            if execution.activations != "reversible":
                kept.append(y)
            y, step_logdet, hidden = step_forward(y, step, affine, execution.network_dtype)
            logdet += step_logdet
            if execution.activations == "stored":
                kept += [tensor for tensor in hidden if tensor is not None]
        ctx.save_for_backward(*flat, y, *kept)
        ctx.execution, ctx.affine, ctx.n_flat = execution, affine, len(flat)
        return y, logdet

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_logdet: Tensor) -> tuple[Tensor | None, ...]:
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        folded, y, kept = _unflattened(saved[: ctx.n_flat]), saved[ctx.n_flat], list(saved[ctx.n_flat + 1 :])
        activations, dtype = ctx.execution.activations, ctx.execution.network_dtype
        if activations == "reversible":
            inverses = _inverses(folded)
        gradients: list[list[Tensor]] = []
        for k in reversed(range(len(folded))):
            step = folded[k]
            if activations == "stored":
                scale = kept.pop() if ctx.affine else None
                second, first = kept.pop(), kept.pop()
            else:
                out, first, second = network(y[:, : step.weight1.shape[1]], step, dtype)
                scale = torch.sigmoid(out.chunk(2, dim=1)[1] + 2) if ctx.affine else None
            x = _inverse_given(out, y, step, inverses[k], ctx.affine) if activations == "reversible" else kept.pop()
            grad_y, of_step = step_backward(grad_y, grad_logdet, x, y, Hidden(first, second, scale), step)
            gradients.append(of_step)
            y = x
        flat = [gradient for of_step in reversed(gradients) for gradient in of_step]
        return grad_y, None, None, *flat


def _unflattened(flat: tuple[Tensor, ...]) -> list[Folded]:
    n = len(Folded._fields)
    return [Folded(*flat[i : i + n]) for i in range(0, len(flat), n)]

"""Gradients of the log-likelihood with respect to the parameters."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.flow import Glow
from glow_pipeline.outliers.scores.score import Cost, FittedScore, Numbers

# Gradients held at once, 128 MiB in float32: so many images are differentiated together, and at least one.
NUMBERS_AT_ONCE = 2**25
MOST_AT_ONCE = 64  # images; more are not faster


class _LogProb(nn.Module):
    """log p(x) as a module's `forward`, which is what `torch.func.functional_call` calls."""

    def __init__(self, model: Glow) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        """Return log p(x) in nats, a scalar, of one image (C, H, W)."""
        return self.model.log_prob(image[None], noise[None])[0]


def squared_gradient_norms(model: Glow, images: Tensor, noise: Tensor) -> Tensor:
    """Return the squared norm of d log p(x) / d theta_j for each image and each parameter tensor j.

    All images of a part are differentiated in one vectorised pass through the plain layers: half the time of one
    backward pass an image.

    Args:
        model: the flow; J of its parameter tensors are trained.
        images: uint8 (B, C, H, W) below 2**n_bits.
        noise: dequantization noise of the same shape.

    Returns:
        float64 (B, J), in the order of `model.named_parameters()`.
    """
    log_prob = _LogProb(model)
    parameters = {name: each.detach() for name, each in log_prob.named_parameters() if each.requires_grad}

    def log_prob_given(parameters: dict[str, Tensor], image: Tensor, noise: Tensor) -> Tensor:
        log_p: Tensor = functional_call(log_prob, parameters, (image, noise))
        return log_p

    of_each_image = vmap(grad(log_prob_given), in_dims=(None, 0, 0))
    at_once = min(MOST_AT_ONCE, max(1, NUMBERS_AT_ONCE // sum(each.numel() for each in parameters.values())))
    # The flow asks for channels last in memory, and `vmap` cannot change the layout.
    images, noise = (each.contiguous(memory_format=torch.channels_last) for each in (images, noise))
    norms = []
    with _plain_layers(model):
        for part in zip(images.split(at_once), noise.split(at_once), strict=True):
            gradients = of_each_image(parameters, *part)
            norms.append(torch.stack([exact(gradient.flatten(1)).square().sum(1) for gradient in gradients.values()]))
    return torch.cat(norms, dim=1).t()


@contextmanager
def _plain_layers(model: Glow) -> Iterator[None]:
    """Compute by the plain layers inside the block: the fast path's own backward pass cannot be vectorised."""
    execution, model.execution = model.execution, None
    try:
        yield
    finally:
        model.execution = execution


@dataclass(frozen=True)
class GradientScore(FittedScore):
    """-sum_j log N(log g_j; m_j, v_j), with g_j the squared norm of d log p(x) / d theta_j for each parameter tensor j.

    Means m_j and variances v_j are those of the validation images. Tensors whose log g_j has no variance there are left
    out: their gradient is 0, or the same for all images.

    Paper: Dauncey et al. 2024, Approximations to the Fisher information metric of deep generative models for
    out-of-distribution detection (arXiv:2403.01485).
    Cost: about twelve passes of the flow.
    Known failure: on the flows of this project it separates less than `nll` and the number of compressed bits together,
    and adds nothing to them.
    """

    name: ClassVar[str] = "gradient"
    summary: ClassVar[str] = "improbability of the parameters' gradient norms"
    unit: ClassVar[str] = "nats"
    short_unit: ClassVar[str] = "nats"
    paper: ClassVar[str] = "Dauncey et al. 2024, arXiv:2403.01485"
    cost: ClassVar[Cost] = "own passes"

    def describe(self, batch: ModelledBatch) -> Tensor:
        """Return log g_j of each image and parameter tensor, float64 (B, J); of a gradient of 0 that of a tiny one."""
        norms = squared_gradient_norms(batch.model, batch.images, batch.noise)
        return norms.clamp(min=torch.finfo(torch.float32).tiny).log()

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:  # noqa: ARG002
        # By the range, because the variance of equal numbers may be a rounding error above 0.
        constant = described.max(axis=0) == described.min(axis=0)
        return {"mean": described.mean(axis=0), "variance": np.where(constant, 0.0, described.var(axis=0))}

    def score(self, described: Numbers) -> Numbers:
        varies = self.fitted["variance"] > 0
        mean, variance = self.fitted["mean"][varies], self.fitted["variance"][varies]
        squared = (described[:, varies] - mean) ** 2 / variance
        scores: Numbers = 0.5 * (squared + np.log(2 * np.pi * variance)).sum(axis=1)
        return scores

"""Gradient of the log-likelihood with respect to the image."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.flow import Glow
from glow_pipeline.outliers.scores.score import Cost, Score

MOST_AT_ONCE = 256  # images: those of a backward pass take the memory of a training step


@dataclass(frozen=True)
class InputGradient(Score):
    """||d log p(x) / d x||, the Euclidean norm over all pixels x in [-1/2, 1/2): near a mode it is small.

    Called approximate mass, with the opposite sign.

    Paper: Chali et al. 2023, Improving normalizing flows with the approximate mass for out-of-distribution detection
    (CVPR workshops).
    Cost: a pass and its backward pass, about three passes of the flow.
    Known failure: smooth and repetitive images have small gradients: textures and X-rays score lower than the clothes
    that a flow was trained on.
    """

    name: ClassVar[str] = "gradient_input"
    summary: ClassVar[str] = "norm of the image's gradient"
    unit: ClassVar[str] = "nats per pixel range"
    short_unit: ClassVar[str] = "nats"
    paper: ClassVar[str] = "Chali et al. 2023, approximate mass"
    cost: ClassVar[Cost] = "own passes"

    def describe(self, batch: ModelledBatch) -> Tensor:
        parts = zip(batch.images.split(MOST_AT_ONCE), batch.noise.split(MOST_AT_ONCE), strict=True)
        return torch.cat([_gradient_norms(batch.model, images, noise) for images, noise in parts])


def _gradient_norms(model: Glow, images: Tensor, noise: Tensor) -> Tensor:
    x, _ = model.dequantization.forward(images, noise)
    with torch.enable_grad():
        x.requires_grad_()
        log_density = model.log_density(model.to_top(x))
        (gradient,) = torch.autograd.grad(log_density.sum(), x)
    return exact(gradient.flatten(1)).norm(dim=1)

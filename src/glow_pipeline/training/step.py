"""One step of training, in which the host never waits for the device."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from glow_pipeline.flow import Glow
from glow_pipeline.training.adamax import Adamax


class TrainingStep:
    """Loss, gradients, and an update of the parameters unless one of those is not finite.

    Args:
        optimizer: of the model's parameters.
        y_weight: weight of the class head's cross-entropy, for a class-conditioned model.
        max_skipped_steps: after so many steps in a row without an update there will be no more.
    """

    def __init__(self, model: Glow, optimizer: Adamax, y_weight: float, max_skipped_steps: int) -> None:
        self.model, self.optimizer, self.y_weight = model, optimizer, y_weight
        self.max_skipped_steps = max_skipped_steps
        self._skipped_in_a_row = torch.zeros((), dtype=torch.int32, device=optimizer.vector.device)

    def __call__(self, x: Tensor, dequantization_logdet: Tensor, labels: Tensor | None = None) -> Tensor:
        """A batch's mean bits per dimension, a scalar on the device; NaN if there was no update.

        Args:
            x: dequantized images (B, C, H, W).
            dequantization_logdet: (B,).
            labels: (B,), for a class-conditioned model.
        """
        loss, bits_per_dim = losses(self.model, x, dequantization_logdet, labels, self.y_weight)
        self.optimizer.zero_grad()
        loss.backward()
        going_on = self._skipped_in_a_row < self.max_skipped_steps
        updated = self.optimizer.step(allowed=loss.isfinite() & going_on)
        self._skipped_in_a_row.copy_(torch.where(updated, 0, self._skipped_in_a_row + 1))
        return torch.where(updated, bits_per_dim, math.nan)

    def rehearse(self, *inputs: Tensor) -> None:
        """A step that changes nothing, to have all that is made at the first one."""
        before = self._skipped_in_a_row.clone()
        self._skipped_in_a_row.fill_(self.max_skipped_steps)
        try:
            self(*inputs)
        finally:
            self._skipped_in_a_row.copy_(before)


def losses(
    model: Glow, x: Tensor, dequantization_logdet: Tensor, labels: Tensor | None, y_weight: float
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and its mean bits per dimension without the class term: two scalars."""
    latent = model.to_top(x)
    log_prob = model.log_density(latent, labels) + dequantization_logdet
    bits_per_dim = model.bits_per_dim(log_prob).mean()
    if labels is None:
        return bits_per_dim, bits_per_dim.detach()
    class_loss = F.cross_entropy(model.top.class_logits(latent.z), labels)
    return bits_per_dim + y_weight * class_loss, bits_per_dim.detach()

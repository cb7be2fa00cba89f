"""The Gaussian priors of the latents: one at each split, one at the top (Glow, section 3.6 and code).

Each is a layer that standardises its latent, eps = (z - mean) * exp(-log_sd), so that the flow ends in eps ~ N(0, 1)
and the log-determinant holds the rest of the density.
"""

import math

import torch
from torch import Tensor, nn

from glow_pipeline.flow.coupling import ZeroConv


def standard_normal_log_prob(eps: Tensor) -> Tensor:
    """Return log N(eps; 0, 1) in nats, summed over all but the first dimension: (B, ...) -> (B,)."""
    return (-0.5 * (eps**2 + math.log(2 * math.pi))).flatten(1).sum(dim=1)


class SplitPrior(nn.Module):
    """A split of half of the channels, which are standardised by a Gaussian that the other half predicts.

    `forward(z) -> (z1, eps, logdet)`: (B, C, H, W) -> (B, C/2, H, W) twice, and (B,).
    `inverse(z1, eps) -> z`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = ZeroConv(channels // 2, channels)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z1, eps, log_sd = self.standardized(z)
        return z1, eps, -log_sd.flatten(1).sum(dim=1)

    def standardized(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return z1, eps and log_sd, (B, C/2, H, W) each."""
        z1, z2 = z.chunk(2, dim=1)
        mean, log_sd = self.network(z1).chunk(2, dim=1)
        return z1, (z2 - mean) * torch.exp(-log_sd), log_sd

    def inverse(self, z1: Tensor, eps: Tensor) -> Tensor:
        mean, log_sd = self.network(z1).chunk(2, dim=1)
        return torch.cat([z1, mean + eps * torch.exp(log_sd)], dim=1)


class TopPrior(nn.Module):
    """The prior of the last latent: N(0, 1), a learned Gaussian, or a Gaussian that the class shifts.

    Args:
        channels: C of the latent (B, C, H, W).
        learn_top: learn a mean and a log_sd for each channel; otherwise they are 0.
        num_classes: None without conditioning; else each class adds a mean and a log_sd of its own to each channel, and
            a linear head predicts the class from the latent's spatial mean.
    """

    def __init__(self, channels: int, learn_top: bool, num_classes: int | None) -> None:
        super().__init__()
        self.channels = channels
        self.num_classes = num_classes
        self.gaussian = nn.Parameter(torch.zeros(2 * channels)) if learn_top else None
        self.class_gaussian = nn.Embedding(num_classes, 2 * channels) if num_classes else None
        self.class_head = nn.Linear(channels, num_classes) if num_classes else None
        for layer in (self.class_gaussian, self.class_head):
            if layer is not None:
                nn.init.zeros_(layer.weight)
        if self.class_head is not None:
            nn.init.zeros_(self.class_head.bias)

    def forward(self, z: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Standardise z (B, C, H, W), with classes y (B,) if conditioned: return eps (B, C, H, W) and logdet (B,)."""
        mean, log_sd = self._mean_and_log_sd(z, y)
        spatial = z.shape[2] * z.shape[3]
        logdet = -spatial * log_sd.flatten(1).sum(dim=1)
        return (z - mean) * torch.exp(-log_sd), logdet.expand(z.shape[0])

    def inverse(self, eps: Tensor, y: Tensor | None = None) -> Tensor:
        mean, log_sd = self._mean_and_log_sd(eps, y)
        return mean + eps * torch.exp(log_sd)

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Return log p(z | y) (B,); for a conditioned prior without y, log p(z) with equally likely classes."""
        if self.num_classes is None or y is not None:
            eps, logdet = self(z, y)
            return standard_normal_log_prob(eps) + logdet
        each = [self.log_prob(z, torch.full((z.shape[0],), k, device=z.device)) for k in range(self.num_classes)]
        return torch.logsumexp(torch.stack(each), dim=0) - math.log(self.num_classes)

    def standardized(self, z: Tensor) -> Tensor:
        """Return eps (B, C, H, W) of z; of a conditioned prior under the class that makes z likeliest."""
        if self.num_classes is None:
            return self(z)[0]
        each = [self.log_prob(z, torch.full((z.shape[0],), k, device=z.device)) for k in range(self.num_classes)]
        return self(z, torch.stack(each).argmax(dim=0))[0]

    def class_logits(self, z: Tensor) -> Tensor:
        """Predict the class of a latent z (B, C, H, W): logits (B, num_classes).

        Raises:
            ValueError: the prior is not conditioned.
        """
        if self.class_head is None:
            raise ValueError("class_logits: this model was built without y_condition")
        return self.class_head(z.mean(dim=(2, 3)))

    def _mean_and_log_sd(self, z: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log_sd, (1 or B, C, 1, 1) each."""
        gaussian = z.new_zeros(1, 2 * self.channels)
        if self.gaussian is not None:
            gaussian = gaussian + self.gaussian
        if self.class_gaussian is not None:
            if y is None:
                raise ValueError("y is missing: a class-conditioned model needs the classes, shape (B,)")
            gaussian = gaussian + self.class_gaussian(y)
        mean, log_sd = gaussian[:, :, None, None].chunk(2, dim=1)
        return mean, log_sd

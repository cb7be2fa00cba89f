"""Activation normalisation: a learned scale and bias for each channel, set from the first data (Glow, section 3.1)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

CONSTANT = 1e-6  # a channel is constant if its standard deviation is below this, which is rounding


class ActNorm(nn.Module):
    """y = (x + bias) * exp(log_scale), channel by channel.

    The layer is the identity until a forward pass within `initialize_from_data`. That pass gives a channel that is
    constant in the data mean 0 and takes its standard deviation for 1: a scale of a million in one layer after another
    would overflow at the first image in which the channel is not constant.

    Args:
        channels: C of the input (B, C, H, W).
        actnorm_scale: standard deviation of each channel of y right after initialisation.
    """

    initialized: Tensor

    def __init__(self, channels: int, actnorm_scale: float = 1.0) -> None:
        super().__init__()
        self.actnorm_scale = actnorm_scale
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("initialized", torch.tensor(False))
        # A plain bool: reading the buffer in every forward would make the host wait for the device.
        self._take_statistics = False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> the same shape, and logdet (B,)."""
        if self._take_statistics:
            self._initialize(x)
        logdet = self.log_scale.sum() * (x.shape[2] * x.shape[3])
        return self.scale_and_shift(x), logdet.expand(x.shape[0])

    def inverse(self, y: Tensor) -> Tensor:
        return y * torch.exp(-self.log_scale) - self.bias

    def scale_and_shift(self, x: Tensor) -> Tensor:
        """Return y alone, for networks, which do not need the log-determinant."""
        return (x + self.bias) * torch.exp(self.log_scale)

    @torch.no_grad()
    def _initialize(self, x: Tensor) -> None:
        std, mean = torch.std_mean(x, dim=(0, 2, 3), keepdim=True, correction=0)
        self.bias.copy_(-mean)
        std = torch.where(std < CONSTANT, 1.0, std + 1e-6)
        self.log_scale.copy_(torch.log(self.actnorm_scale / std))
        self.initialized.fill_(True)


@contextmanager
def initialize_from_data(module: nn.Module) -> Iterator[None]:
    """Let forward passes within this block set every ActNorm in `module` from the data that reaches it."""
    layers = [layer for layer in module.modules() if isinstance(layer, ActNorm)]
    for layer in layers:
        layer._take_statistics = True
    try:
        yield
    finally:
        for layer in layers:
            layer._take_statistics = False

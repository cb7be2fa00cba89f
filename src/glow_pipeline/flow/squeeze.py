"""Squeeze: each 2x2 block of pixels becomes four channels (RealNVP, arXiv:1605.08803)."""

from torch import Tensor, nn
from torch.nn import functional as F


class Squeeze(nn.Module):
    """A reordering, (B, C, H, W) <-> (B, 4C, H/2, W/2); logdet 0."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, 2), x.new_zeros(x.shape[0])

    def inverse(self, y: Tensor) -> Tensor:
        return F.pixel_shuffle(y, 2)

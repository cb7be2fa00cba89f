"""Conversion of integer images to points of a continuous space, and back (Theis et al. 2015, arXiv:1511.01844)."""

import math

import torch
from torch import Tensor

ALL = slice(None)


class Dequantization:
    """Uniform dequantization of images with n_bits a channel.

    x = (image + u) / 2**n_bits - 1/2 with u ~ U[0, 1), so the noise is exactly one grey level wide for any n_bits.
    Training, evaluation and scoring use the same object.

    Args:
        n_bits: bits of a channel, 1 to 8: 2**n_bits grey levels.

    Raises:
        ValueError: n_bits is not in this range.
    """

    def __init__(self, n_bits: int) -> None:
        if not 1 <= n_bits <= 8:
            raise ValueError(f"n_bits={n_bits}: allowed are 1 to 8")
        self.n_bits = n_bits
        self.n_levels = 2**n_bits

    def reduce(self, images: Tensor) -> Tensor:
        """Reduce 8-bit images to n_bits: uint8 below 256 -> uint8 below 2**n_bits, any shape."""
        return images >> (8 - self.n_bits)

    def expand(self, images: Tensor) -> Tensor:
        """Expand n_bits images to 8 bits for display: 0 stays black, the highest level is white."""
        return (images.float() * (255 / (self.n_levels - 1))).round().to(torch.uint8)

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Dequantize images with given noise.

        Args:
            images: uint8 (B, C, H, W) with values below 2**n_bits.
            noise: the same shape, floating, uniform in [0, 1).

        Returns:
            x (B, C, H, W) from -1/2 to 1/2 with the noise's dtype, and logdet (B,): -C H W log(2**n_bits).
            The log-density of x plus this is a lower bound of the log-probability of the image.
        """
        x = (images + noise) / self.n_levels - 0.5
        dimensions = images[0].numel()
        return x, noise.new_full((images.shape[0],), -dimensions * math.log(self.n_levels))

    def dequantize(
        self, images: Tensor, generator: torch.Generator, batch_size: int | None = None, rows: slice = ALL
    ) -> tuple[Tensor, Tensor]:
        """Dequantize as `forward` does, in float32 with noise drawn from `generator` on the images' device.

        Args:
            images: as in `forward`; a part of a batch, or all of it.
            generator: draws the noise of the complete batch.
            batch_size: number of images in the complete batch; None: these.
            rows: the rows of the batch that these images are.
        """
        shape = (batch_size or len(images), *images.shape[1:])
        return self.forward(images, torch.rand(shape, generator=generator, device=images.device)[rows])

    def inverse(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W) to the uint8 images below 2**n_bits whose cells contain it, clamped to the range.

        NaN becomes 0, black: a flow's inverse can overflow to it for latents far from 0.
        """
        levels = torch.floor((x + 0.5) * self.n_levels).nan_to_num(nan=0.0)
        return levels.clamp(0, self.n_levels - 1).to(torch.uint8)

"""Samples of a training's flow after an epoch, drawn once for all who show or keep them."""

import torch

from glow_pipeline.flow import Glow
from glow_pipeline.images.transfer import HostCopy
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import draw

SAMPLES = 16


class EpochSamples:
    """Draws samples of a flow, always from the same latents; those of the latest epoch stay at hand.

    Args:
        seed, temperature: seed and temperature of the samples.
    """

    def __init__(self, seed: int, temperature: float) -> None:
        self.seed, self.temperature = seed, temperature
        self._latest: tuple[int, HostCopy] | None = None

    def of(self, flow: Glow, epoch: int) -> HostCopy:
        """Return copies on their way to the host: 8-bit images (16, C, H, W), and bool (16,), true where not finite.

        The images are of the classes in turn if the flow is class-conditioned.
        """
        if self._latest is None or self._latest[0] != epoch:
            device = next(flow.parameters()).device
            labels = torch.arange(SAMPLES, device=device) % flow.num_classes if flow.y_condition else None
            drawn = draw(flow, SAMPLES, self.temperature, generator(self.seed, "progress", 0, device), labels)
            self._latest = epoch, HostCopy(flow.dequantization.expand(drawn.images), drawn.broken)
        return self._latest[1]

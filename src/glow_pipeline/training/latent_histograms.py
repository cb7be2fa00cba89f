"""Histograms and moments of the latents of many images, level by level, in constant memory."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.density import exact
from glow_pipeline.outliers.statistics.latents import precise

REACH, BIN = 6.0, 0.1  # standard deviations: half of the histogram's range, and the width of a bin
N_BINS = round(2 * REACH / BIN)


@dataclass(frozen=True)
class LatentHistogram:
    """Elements of one level's standardised latent over many images: N(0, 1) under the model.

    Attributes:
        counts: int64 (N_BINS,), of elements in the bins between -REACH and REACH.
        below, above: number of elements beyond.
        not_finite: number of elements that are infinite or NaN, which the moments leave out.
        mean, sd, kurtosis: of the finite elements; 0, 1 and 3 under the model. NaN without an element.
    """

    counts: NDArray[np.int64]
    below: int
    above: int
    not_finite: int
    mean: float
    sd: float
    kurtosis: float

    @property
    def n(self) -> int:
        """Return the number of finite elements."""
        return int(self.counts.sum()) + self.below + self.above

    @staticmethod
    def edges() -> NDArray[np.float64]:
        """Return the edges of the bins, (N_BINS + 1,)."""
        return np.linspace(-REACH, REACH, N_BINS + 1)


class LatentCounter:
    """Counts the elements of one level's latents batch by batch, on their device, for which the host does not wait."""

    def __init__(self, device: torch.device) -> None:
        self._counts = torch.zeros(N_BINS + 3, dtype=torch.int64, device=device)  # below, bins, above, not finite
        self._sums = precise(torch.zeros(4, device=device))  # of the first four powers

    def add(self, eps: Tensor) -> None:
        """Count the latents (B, C, H, W) of a batch."""
        values = eps.flatten()
        finite = values.isfinite()
        kept = torch.where(finite, values, 0.0)
        place = ((kept + REACH) / BIN).floor().clamp(-1, N_BINS).long() + 1
        place = torch.where(finite, place, N_BINS + 2)
        self._counts.scatter_add_(0, place, torch.ones_like(place))
        power = exact_values = precise(kept)
        sums = [power.sum()]
        for _ in range(3):
            power = power * exact_values
            sums.append(power.sum())
        self._sums += torch.stack(sums)

    def histogram(self) -> LatentHistogram:
        """Return what was counted; the host waits for it."""
        below, *counts, above, not_finite = self._counts.tolist()
        n = below + sum(counts) + above
        mean, second, third, fourth = (exact(self._sums) / max(n, 1)).tolist()
        variance = max(second - mean**2, 0.0)
        central = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        nothing = float("nan")
        return LatentHistogram(
            np.array(counts, dtype=np.int64),
            below,
            above,
            not_finite,
            mean if n else nothing,
            variance**0.5 if n else nothing,
            central / variance**2 if variance > 0 else nothing,
        )

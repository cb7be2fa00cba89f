"""Density of states: how rare an image's statistics are."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.outliers.densities.density import part_of, with_prefix
from glow_pipeline.outliers.densities.kernel import KernelDensity
from glow_pipeline.outliers.scores.score import FittedScore, Numbers

DENSITY = KernelDensity()


def sums_of_levels(batch: ModelledBatch) -> Tensor:
    """Return log p(z) of all latents, the log-determinant, and log p(x), in nats: float64 (B, 3)."""
    latent = exact(torch.stack([level.log_prob for level in batch.levels])).sum(dim=0)
    logdet = exact(torch.stack([level.logdet for level in batch.levels])).sum(dim=0)
    return torch.stack([latent, logdet, exact(batch.log_prob)], dim=1)


@dataclass(frozen=True)
class DensityOfStates(FittedScore):
    """-sum_j log p_j(T_j(x)), with a kernel density p_j of each statistic T_j, fitted on the validation images.

    The statistics are the log-probability of the latents, the log-determinant and log p(x).

    Paper: Morningstar et al. 2020, Density of states estimation for out-of-distribution detection (arXiv:2006.09273),
    DoSE_KDE with the statistics of a Glow; the bandwidths are Scott's.
    Cost: one pass of the flow; the kernel density takes validation images * images evaluations.
    Known failure: outliers with the likelihood and the log-determinant of the training images, which parts of an image
    may lack and others have too much of.
    """

    name: ClassVar[str] = "density_of_states"
    summary: ClassVar[str] = "density of states"
    unit: ClassVar[str] = "nats"
    paper: ClassVar[str] = "Morningstar et al. 2020, arXiv:2006.09273"
    traces: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        return batch.once(sums_of_levels)

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:
        fitted: dict[str, Numbers] = {}
        for j, statistic in enumerate(described.T):
            fitted |= with_prefix(f"statistic_{j}", DENSITY.fit(statistic[:, None], seed))
        return fitted

    def score(self, described: Numbers) -> Numbers:
        each = [
            DENSITY.score(part_of(self.fitted, f"statistic_{j}"), statistic[:, None])
            for j, statistic in enumerate(described.T)
        ]
        score: Numbers = np.sum(each, axis=0)
        return score

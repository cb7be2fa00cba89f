"""One density of all statistics of the latents and of the compressed size."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.densities.density import on_one_thread
from glow_pipeline.outliers.densities.mixture import ShrunkMixture
from glow_pipeline.outliers.scores.score import FittedScore, Numbers
from glow_pipeline.outliers.statistics.codecs import compressed_bits_per_dim
from glow_pipeline.outliers.statistics.latents import LATENT_STATISTICS

DENSITY = ShrunkMixture()


@dataclass(frozen=True)
class DensityOfStatistics(FittedScore):
    """Negative log-density of all statistics of the latents (`statistics.latents`) and the compressed size together.

    Each level has the log-probability of its latent, its log-determinant, and norm, mean, variance, kurtosis, distance
    to N(0, 1) and three autocorrelations of its standardised latent. A Gaussian mixture of shrunk covariances is fitted
    to them on the validation images.

    Paper: none; the density of states (arXiv:2006.09273) with more statistics and one density of all of them.
    Cost: one pass of the flow, and the codecs.
    Known failure: outliers that few of many statistics find.
    """

    name: ClassVar[str] = "density_of_statistics"
    summary: ClassVar[str] = "density of all statistics"
    unit: ClassVar[str] = "nats"
    paper: ClassVar[str] = "none; after Morningstar et al. 2020, arXiv:2006.09273"
    traces: ClassVar[bool] = True
    compresses: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        of_levels = [batch.once(statistic) for statistic in LATENT_STATISTICS.values()]
        return torch.cat([*of_levels, batch.once(compressed_bits_per_dim)[:, None]], dim=1)

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:
        return on_one_thread(lambda: DENSITY.fit(described, seed))

    def score(self, described: Numbers) -> Numbers:
        return DENSITY.score(self.fitted, described)

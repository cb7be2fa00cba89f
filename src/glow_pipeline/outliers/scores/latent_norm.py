"""Distance of the latents' norms from those of the validation images."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores.score import FittedScore, Numbers
from glow_pipeline.outliers.statistics.latents import norm

SMALLEST_SD = 1e-12


@dataclass(frozen=True)
class LatentNorm(FittedScore):
    """Root mean square over the levels of (||eps_l|| - mean_l) / sd_l: too short and too long latents are outlying.

    A sample of N(0, 1) in D dimensions has a norm near sqrt(D), while the most likely point, 0, has norm 0.

    Paper: none for levels; the annulus of a Gaussian is that of Choi et al. 2018 (arXiv:1810.01392), section 2.
    Cost: one pass of the flow.
    Known failure: outliers that differ in the log-determinant alone.
    """

    name: ClassVar[str] = "latent_norm"
    summary: ClassVar[str] = "distance of the latents' norms from their means"
    unit: ClassVar[str] = "standard deviations"
    paper: ClassVar[str] = "the annulus of a Gaussian: Choi et al. 2018, arXiv:1810.01392"
    traces: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        return batch.once(norm)

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:  # noqa: ARG002
        return {"mean": described.mean(axis=0), "sd": described.std(axis=0) + SMALLEST_SD}

    def score(self, described: Numbers) -> Numbers:
        deviations = (described - self.fitted["mean"]) / self.fitted["sd"]
        score: Numbers = np.sqrt(np.square(deviations).mean(axis=1))
        return score

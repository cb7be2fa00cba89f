"""The last level's part of the negative log-likelihood."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores.score import Score
from glow_pipeline.outliers.statistics.latents import level_log_prob


@dataclass(frozen=True)
class LastLevel(Score):
    """The coarsest level's part of -log p(x), in bits per dimension of its latent: -(log p(z_L) + log|det_L|) / D_L.

    The fine levels model what all photographs share; what an image shows is in the coarsest latent, if anywhere.

    Paper: Schirrmeister et al. 2020, Understanding anomaly detection with deep invertible networks through hierarchies
    of distributions and features (arXiv:2006.10848).
    Cost: one pass of the flow.
    Known failure: simple images, whose coarse latent is as likely as that of the training images.
    """

    name: ClassVar[str] = "last_level"
    summary: ClassVar[str] = "last level's negative log-likelihood"
    unit: ClassVar[str] = "bits per dimension"
    short_unit: ClassVar[str] = "bits_per_dim"
    paper: ClassVar[str] = "Schirrmeister et al. 2020, arXiv:2006.10848"
    traces: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        return -batch.once(level_log_prob)[:, -1] / math.log(2)

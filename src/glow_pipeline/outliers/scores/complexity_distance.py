"""Distance of the compressed size from that of the validation images."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores.score import FittedScore, Numbers
from glow_pipeline.outliers.statistics.codecs import compressed_bits_per_dim

SMALLEST_SPREAD = 1e-12


@dataclass(frozen=True)
class ComplexityDistance(FittedScore):
    """|L(x) - median| / spread: simpler and more complex images than those of the validation part count as outlying.

    L is the size of the smallest of several lossless codecs. The spread of the images below the median is the distance
    of the median to the 10% quantile, of those above to the 90% quantile: sizes are skewed.

    Paper: none; the control without a model that needs no direction.
    Cost: the codecs.
    Known failure: outliers as complex as the training images; it finds simple outliers worse than `complexity`.
    """

    name: ClassVar[str] = "complexity_distance"
    summary: ClassVar[str] = "distance of the compressed size from its median"
    unit: ClassVar[str] = "spreads"
    paper: ClassVar[str] = "none; the control without a model"
    compresses: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        return batch.once(compressed_bits_per_dim)

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:  # noqa: ARG002
        return {"quantiles": np.quantile(described[:, 0], [0.1, 0.5, 0.9])}

    def score(self, described: Numbers) -> Numbers:
        low, median, high = self.fitted["quantiles"]
        size = described[:, 0]
        spread = np.where(size > median, high - median, median - low) + SMALLEST_SPREAD
        distance: Numbers = np.abs(size - median) / spread
        return distance

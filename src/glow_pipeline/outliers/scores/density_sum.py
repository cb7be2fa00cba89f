"""The recommended score: the sum of three densities of statistics of one pass, and the same without codecs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.densities.density import part_of, with_prefix
from glow_pipeline.outliers.densities.kernel import KernelDensity
from glow_pipeline.outliers.densities.mixture import ShrunkMixture
from glow_pipeline.outliers.densities.tail import TailedDensity
from glow_pipeline.outliers.scores.nll import bits_per_dim
from glow_pipeline.outliers.scores.score import FittedScore, Numbers
from glow_pipeline.outliers.statistics.codecs import compressed_bits_per_dim
from glow_pipeline.outliers.statistics.latents import autocorrelation, level_log_prob, mean
from glow_pipeline.outliers.statistics.log_scale_grid import CELLS, log_scale_grid

Statistic = Callable[[ModelledBatch], Tensor]


class Part(NamedTuple):
    """Statistics, and the density that is fitted to them.

    Attributes:
        name: prefix of the fitted parameters.
        statistics: functions of a batch that return (B,) or (B, columns).
        per_level: columns of all of them for each level.
        fixed: columns beside these.
    """

    name: str
    density: TailedDensity
    statistics: Sequence[Statistic]
    per_level: int
    fixed: int = 0


MIXTURE = TailedDensity(ShrunkMixture(components=10))
LEVELS = Part("levels", MIXTURE, (level_log_prob, compressed_bits_per_dim, autocorrelation, mean), 3, 1)
LEVELS_OF_FLOW = Part("levels", MIXTURE, (level_log_prob, autocorrelation, mean), 3)
GRID = Part("grid", MIXTURE, (log_scale_grid,), CELLS**2)
PLANE = Part("plane", TailedDensity(KernelDensity()), (bits_per_dim, compressed_bits_per_dim), 0, 2)


@dataclass(frozen=True)
class DensitySum(FittedScore):
    """Sum of how improbable an image is under three densities, each as -log of a tail probability (`densities.tail`).

    The densities are fitted to the validation images, on the statistics

        levels  each level's log-prob + log-det per dimension, lag-1 autocorrelation and mean of its latent, and the
                compressed size: which kind of pixels an image has
        grid    the couplings' log-scales averaged over a grid of 4x4 for each level: where in the image they are
        plane   negative log-likelihood and compressed size

    by a Gaussian mixture of shrunk covariances (levels, grid) and by a kernel estimate (plane).

    Paper: none. Densities of statistics are Morningstar et al. 2020 (arXiv:2006.09273), those with complexity
    Osada et al. 2023 (arXiv:2402.10477), autocorrelation Hawkins et al. 2020 (arXiv:2002.03328). The recipe was
    selected by looking at outliers of Fashion-MNIST and MNIST.
    Cost: one pass of the flow, and the codecs.
    Known failure: outliers that differ by what they mean and not by their pixels' statistics, as mirrored images; few
    validation images (below 250) make it less sharp.
    """

    parts: tuple[Part, ...] = (LEVELS, GRID, PLANE)

    name: ClassVar[str] = "density_sum"
    summary: ClassVar[str] = "sum of three densities' tails"
    unit: ClassVar[str] = "nats"
    paper: ClassVar[str] = "none; densities of statistics are Morningstar et al. 2020, arXiv:2006.09273"
    traces: ClassVar[bool] = True
    compresses: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        columns = [batch.once(statistic) for part in self.parts for statistic in part.statistics]
        return torch.cat([column.view(len(batch.images), -1) for column in columns], dim=1)

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:
        fitted: dict[str, Numbers] = {}
        for part, numbers in self.divided(described):
            fitted |= with_prefix(part.name, part.density.fit(numbers, seed))
        return fitted

    def score(self, described: Numbers) -> Numbers:
        tails = [
            part.density.score(part_of(self.fitted, part.name), numbers) for part, numbers in self.divided(described)
        ]
        total: Numbers = np.sum(tails, axis=0)
        return total

    def divided(self, described: Numbers) -> list[tuple[Part, Numbers]]:
        """Divide the columns; the number of levels follows from that of all columns."""
        per_level, fixed = sum(part.per_level for part in self.parts), sum(part.fixed for part in self.parts)
        levels = (described.shape[1] - fixed) // max(per_level, 1)
        ends = np.cumsum([part.per_level * levels + part.fixed for part in self.parts])
        return list(zip(self.parts, np.split(described, ends[:-1], axis=1), strict=True))


@dataclass(frozen=True)
class DensitySumOfFlow(DensitySum):
    """`DensitySum` of the flow alone: the densities of levels and grid, without the compressed size.

    Paper: as `DensitySum`.
    Cost: one pass of the flow.
    Known failure: as `DensitySum`; and images of few grey levels, of large pixels or with another texture, which only a
    codec finds.
    """

    parts: tuple[Part, ...] = (LEVELS_OF_FLOW, GRID)

    name: ClassVar[str] = "density_sum_flow"
    summary: ClassVar[str] = "sum of two densities' tails, of the flow alone"
    compresses: ClassVar[bool] = False

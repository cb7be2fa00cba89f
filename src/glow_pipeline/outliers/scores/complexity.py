"""Complexity: the compressed size alone, the control without a model."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores.score import Score
from glow_pipeline.outliers.statistics.codecs import compressed_bits_per_dim


@dataclass(frozen=True)
class Complexity(Score):
    """Minus the bits per dimension of the smallest of several lossless codecs: simple images count as outlying.

    The direction is that of the likelihood's failure, since a model is to be compared with what finds the simple
    outliers that its likelihood misses. `complexity_distance` counts both directions.

    Paper: none; the control without a model. Serra et al. 2019 (arXiv:1909.11480) use the size as a measure of
    complexity.
    Cost: the codecs.
    Known failure: outliers that are more complex than the training images, as noise and textures.
    """

    name: ClassVar[str] = "complexity"
    summary: ClassVar[str] = "minus the compressed size"
    unit: ClassVar[str] = "bits per dimension"
    short_unit: ClassVar[str] = "bits_per_dim"
    paper: ClassVar[str] = "none; the control without a model"
    below_chance: ClassVar[str] = "means that the outliers are more complex than the test images"

    compresses: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        return -batch.once(compressed_bits_per_dim)

"""Likelihood corrected by complexity."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores.nll import bits_per_dim
from glow_pipeline.outliers.scores.score import Score
from glow_pipeline.outliers.statistics.codecs import compressed_bits_per_dim


@dataclass(frozen=True)
class InputComplexity(Score):
    """Negative log-likelihood minus compressed size, in bits per dimension: S(x) = -log2 p(x) / D - L(x) / D.

    L is the size of the smallest of several lossless codecs. It is a log-likelihood ratio of a universal compressor and
    the flow.

    Paper: Serra et al. 2019, Input complexity and out-of-distribution detection with likelihood-based generative models
    (arXiv:1909.11480).
    Cost: one pass of the flow, and the codecs.
    Known failure: images that the codecs compress worse than the flow does, as blurred ones and photographs of many
    grey levels; flows of training images that the codecs compress almost as well.
    """

    name: ClassVar[str] = "input_complexity"
    summary: ClassVar[str] = "negative log-likelihood minus compressed size"
    unit: ClassVar[str] = "bits per dimension"
    short_unit: ClassVar[str] = "bits_per_dim"
    paper: ClassVar[str] = "Serra et al. 2019, arXiv:1909.11480"

    compresses: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        return batch.once(bits_per_dim) - batch.once(compressed_bits_per_dim)

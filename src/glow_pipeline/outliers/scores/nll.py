"""Negative log-likelihood."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.outliers.scores.score import Score


def bits_per_dim(batch: ModelledBatch) -> Tensor:
    """Return -log p(x) / (D ln 2), float64 (B,)."""
    return batch.model.bits_per_dim(exact(batch.log_prob))


@dataclass(frozen=True)
class NegativeLogLikelihood(Score):
    """Negative log-likelihood in bits per dimension: -log p(x) / (D ln 2), with D = C H W.

    Infinite for an image so far out that the flow overflows. Of a class-conditioned flow it is log p(x), not
    log p(x | y): an outlier's class is unknown.

    Paper: Bishop 1994, Novelty detection and neural network validation.
    Cost: one pass of the flow.
    Known failure: images simpler than the training images often have a higher likelihood than those themselves
    (Nalisnick et al. 2019, arXiv:1810.09136).
    """

    name: ClassVar[str] = "nll"
    summary: ClassVar[str] = "negative log-likelihood"
    unit: ClassVar[str] = "bits per dimension"
    short_unit: ClassVar[str] = "bits_per_dim"
    paper: ClassVar[str] = "Bishop 1994, Novelty detection and neural network validation"
    below_chance: ClassVar[str] = "is the likelihood's known failure: docs/outliers.md"

    def describe(self, batch: ModelledBatch) -> Tensor:
        return batch.once(bits_per_dim)

"""Typicality: distance of the log-likelihood from its mean."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores.group_score import GroupScore
from glow_pipeline.outliers.scores.nll import bits_per_dim
from glow_pipeline.outliers.scores.score import Numbers


@dataclass(frozen=True)
class Typicality(GroupScore):
    """|NLL - mean NLL of the validation images|, in bits per dimension: both directions count as atypical.

    Paper: Nalisnick et al. 2019, Detecting out-of-distribution inputs to deep generative models using typicality
    (arXiv:1906.02994).
    Cost: that of the negative log-likelihood.
    Known failure: outliers whose likelihood is that of the training images.
    """

    name: ClassVar[str] = "typicality"
    summary: ClassVar[str] = "distance of the negative log-likelihood from its mean"
    unit: ClassVar[str] = "bits per dimension"
    short_unit: ClassVar[str] = "bits_per_dim"
    paper: ClassVar[str] = "Nalisnick et al. 2019, arXiv:1906.02994"

    def describe(self, batch: ModelledBatch) -> Tensor:
        return batch.once(bits_per_dim)

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:  # noqa: ARG002
        return {"mean": described.mean(axis=0)}

    def score(self, described: Numbers) -> Numbers:
        scores: Numbers = abs(described[:, 0] - self.fitted["mean"][0])
        return scores

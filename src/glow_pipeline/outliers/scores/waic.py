"""Watanabe-Akaike information criterion of several models."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.flow import Glow
from glow_pipeline.outliers.other_models import Kind, OtherModels
from glow_pipeline.outliers.scores.score import Cost, Numbers, Score


@dataclass(frozen=True)
class Waic(Score):
    """-(mean_k log p_k(x) - var_k log p_k(x)), in nats: models that disagree on an image count as its being outlying.

    Mean and variance (that of the k numbers, not the unbiased one) are over the models of `ood.ensemble`, to which the
    scored model belongs only if it is named there. All have the same dequantization noise.

    Paper: Choi et al. 2018, WAIC, but why? Generative ensembles for robust anomaly detection (arXiv:1810.01392).
    Cost: k passes of a flow.
    Known failure: with few models the variance is mostly chance, and where they agree it fails as the likelihood does
    (Nalisnick et al. 2019, arXiv:1906.02994, section 5).

    Attributes:
        ensemble: the models; empty before `with_models`.
    """

    ensemble: tuple[Glow, ...] = ()

    name: ClassVar[str] = "waic"
    summary: ClassVar[str] = "WAIC of several models"
    unit: ClassVar[str] = "nats"
    short_unit: ClassVar[str] = "nats"
    paper: ClassVar[str] = "Choi et al. 2018, arXiv:1810.01392"
    cost: ClassVar[Cost] = "own passes"
    needs: ClassVar[Kind] = "ensemble"

    def with_models(self, models: OtherModels) -> Self:
        return replace(self, ensemble=models.ensemble)

    def describe(self, batch: ModelledBatch) -> Tensor:
        """Return log p_k(x) in nats of each model, float64 (B, k)."""
        if len(self.ensemble) < 2:
            raise ValueError(f"waic: has {len(self.ensemble)} models, of two or more; call with_models first")
        return torch.stack([exact(model.log_prob(batch.images, batch.noise)) for model in self.ensemble], dim=1)

    def score(self, described: Numbers) -> Numbers:
        scores: Numbers = described.var(axis=1) - described.mean(axis=1)
        return scores

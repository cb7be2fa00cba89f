"""Likelihood ratio to a background model."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from torch import Tensor

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.flow import Glow
from glow_pipeline.outliers.other_models import Kind, OtherModels
from glow_pipeline.outliers.scores.nll import bits_per_dim
from glow_pipeline.outliers.scores.score import Cost, Score


@dataclass(frozen=True)
class LikelihoodRatio(Score):
    """-(log p(x) - log p_background(x)) / (D ln 2), in bits per dimension.

    Images that the background model finds as probable are outlying: what the scored model adds to it is not in them.

    The background model is another stored model (`ood.background`), by default the newest one of the same images that
    was trained on mutated pixels (`train.mutation`). Both have the same dequantization noise.

    Paper: Ren et al. 2019, Likelihood ratios for out-of-distribution detection (arXiv:1906.02845).
    Cost: two passes of a flow.
    Known failure: depends on the share of mutated pixels, which the paper chose by known outliers.

    Attributes:
        background: the background model; None before `with_models`.
    """

    background: Glow | None = None

    name: ClassVar[str] = "likelihood_ratio"
    summary: ClassVar[str] = "likelihood ratio of a background model"
    unit: ClassVar[str] = "bits per dimension"
    short_unit: ClassVar[str] = "bits_per_dim"
    paper: ClassVar[str] = "Ren et al. 2019, arXiv:1906.02845"
    cost: ClassVar[Cost] = "own passes"
    needs: ClassVar[Kind] = "background"

    def with_models(self, models: OtherModels) -> Self:
        return replace(self, background=models.background)

    def describe(self, batch: ModelledBatch) -> Tensor:
        if self.background is None:
            raise ValueError("likelihood_ratio: has no background model; call with_models first")
        log_prob = exact(self.background.log_prob(batch.images, batch.noise))
        return batch.once(bits_per_dim) - batch.model.bits_per_dim(log_prob)

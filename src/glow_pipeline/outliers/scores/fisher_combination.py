"""Fisher's combination of two tests: typicality and the score statistic."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.outliers.densities.density import Fitted, part_of, with_prefix
from glow_pipeline.outliers.densities.tail import fit_tail, tail
from glow_pipeline.outliers.scores.nll import bits_per_dim
from glow_pipeline.outliers.scores.score import FittedScore, Numbers
from glow_pipeline.outliers.statistics.latents import precise

SMALLEST_INFORMATION = 1e-12


def prior_gradients(batch: ModelledBatch) -> Tensor:
    """Return the gradients of log p(x) by a shift and a log-scale of each channel of each level's prior.

    With eps -> (eps - shift) * exp(-log_scale) in the prior they are sum eps and sum (eps^2 - 1) over positions at 0.
    They are divided by the roots of their Fisher information under the model, P and 2 P for P positions.

    Returns:
        float64 (B, 2 * channels of all levels).
    """
    gradients = []
    for level in batch.levels:
        eps = precise(level.eps).flatten(2)
        gradients += [eps.sum(dim=2) / math.sqrt(eps.shape[2])]
        gradients += [(eps.square() - 1).sum(dim=2) / math.sqrt(2 * eps.shape[2])]
    return exact(torch.cat(gradients, dim=1))


@dataclass(frozen=True)
class FisherCombination(FittedScore):
    """-2 (log p_typicality + log p_score), the combination of two tests by Fisher's method.

    p_typicality is the p-value of |NLL - mean NLL|, p_score that of Rao's score statistic sum_j g_j^2 / E[g_j^2], where
    g are gradients of log p(x) by parameters; means and p-values are those of the validation images. Beyond their
    90% quantile the p-values are continued by an exponential tail (`densities.tail`).

    Paper: Bergamin et al. 2022, Model-agnostic out-of-distribution detection using combined statistical tests
    (arXiv:2203.01097). There the gradients are those of all weights, with a backward pass an image; here those of a
    shift and a scale of each channel of the priors, which the latents give without a backward pass.
    Cost: one pass of the flow.
    Known failure: outliers whose latents are N(0, 1) and whose likelihood is that of the training images.
    """

    name: ClassVar[str] = "fisher_combination"
    summary: ClassVar[str] = "Fisher's combination of typicality and score statistic"
    paper: ClassVar[str] = "Bergamin et al. 2022, arXiv:2203.01097"
    traces: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        return torch.cat([batch.once(bits_per_dim)[:, None], batch.once(prior_gradients)], dim=1)

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:  # noqa: ARG002
        fitted = {
            "mean": described[:, 0].mean(keepdims=True),
            "information": np.square(described[:, 1:]).mean(axis=0) + SMALLEST_INFORMATION,
        }
        for i, statistic in enumerate(self._statistics(fitted, described)):
            fitted |= with_prefix(f"tail_{i}", fit_tail(statistic))
        return fitted

    def score(self, described: Numbers) -> Numbers:
        surprise = np.zeros(len(described))
        for i, statistic in enumerate(self._statistics(self.fitted, described)):
            surprise += tail(part_of(self.fitted, f"tail_{i}"), statistic)
        return 2 * surprise

    @staticmethod
    def _statistics(fitted: Fitted, described: Numbers) -> tuple[Numbers, Numbers]:
        typicality = np.abs(described[:, 0] - fitted["mean"][0])
        return typicality, (np.square(described[:, 1:]) / fitted["information"]).sum(axis=1)

"""Kolmogorov-Smirnov distance of the latents to those of the validation images."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch, exact
from glow_pipeline.outliers.scores.group_score import GroupScore
from glow_pipeline.outliers.scores.score import Numbers

BINS = 64


def latent_histograms(batch: ModelledBatch) -> Tensor:
    """Return the share of each level's eps in each of 64 intervals that are equally likely under N(0, 1).

    Returns:
        float64 (B, 64 L), levels from fine to coarse; NaN for an image with a latent that is NaN.
    """
    return torch.cat([_histogram(level.eps.flatten(1)) for level in batch.levels], dim=1)


def _histogram(eps: Tensor) -> Tensor:
    uniform = 0.5 * (1 + torch.erf(eps / math.sqrt(2)))  # under the model
    bins = (uniform.nan_to_num() * BINS).clamp(max=BINS - 1).long()
    counts = torch.zeros(len(eps), BINS, device=eps.device).scatter_add_(1, bins, torch.ones_like(eps))
    counts = counts.masked_fill(eps.isnan().any(dim=1, keepdim=True), torch.nan)
    return exact(counts) / eps.shape[1]


@dataclass(frozen=True)
class LatentKs(GroupScore):
    """Mean over the levels of max_k |F(k) - F_val(k)|, with F the distribution function of a level's latents.

    F is taken at the 63 points k/64 of the scale on which N(0, 1) is uniform; F_val is that of the latents of all
    validation images, because a trained flow's latents of held-out images are not exactly N(0, 1). Of a group of images
    the latents of all are pooled.

    Paper: Jiang et al. 2022, Revisiting flow generative models for out-of-distribution detection (ICLR): a two-sample
    Kolmogorov-Smirnov test of a group's latents, there of random projections.
    Cost: one pass of the flow.
    Known failure: of single images it is among the weakest statistics; it is meant for groups.
    """

    name: ClassVar[str] = "latent_ks"
    summary: ClassVar[str] = "Kolmogorov-Smirnov distance of the latents"
    paper: ClassVar[str] = "Jiang et al. 2022, ICLR"
    traces: ClassVar[bool] = True

    def describe(self, batch: ModelledBatch) -> Tensor:
        return batch.once(latent_histograms)

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:  # noqa: ARG002
        return {"histograms": described.mean(axis=0)}

    def score(self, described: Numbers) -> Numbers:
        by_level = (described - self.fitted["histograms"]).reshape(len(described), -1, BINS)
        distances: Numbers = abs(by_level.cumsum(axis=2)).max(axis=2).mean(axis=1)
        return distances

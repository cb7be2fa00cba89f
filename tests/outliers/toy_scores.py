"""Scores that a test adds, as a user's own file would."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores import SCORES, Score


@contextmanager
def registered(score: Score) -> Iterator[None]:
    """Have a score in the registry inside the block."""
    SCORES.register(score)
    try:
        yield
    finally:
        SCORES.remove(score.name)


@dataclass(frozen=True)
class Brightness(Score):
    """Mean pixel value."""

    name: ClassVar[str] = "brightness"
    summary: ClassVar[str] = "mean brightness"
    unit: ClassVar[str] = "grey levels"
    short_unit: ClassVar[str] = "levels"
    paper: ClassVar[str] = "none"

    def score(self, batch: ModelledBatch) -> Tensor:
        return batch.images.flatten(1).double().mean(dim=1)


@dataclass(frozen=True)
class Typicality(Score):
    """Distance of the log-likelihood from its mean on the fit images (Nalisnick et al. 2019, arXiv:1906.02994)."""

    mean: float = 0.0

    name: ClassVar[str] = "typicality"
    summary: ClassVar[str] = "typicality"
    paper: ClassVar[str] = "Nalisnick et al. 2019"
    fitted_on: ClassVar = "fit images"

    def fit(self, batches: Iterable[ModelledBatch]) -> Self:
        return type(self)(torch.cat([batch.log_prob for batch in batches]).double().mean().item())

    def score(self, batch: ModelledBatch) -> Tensor:
        return (batch.log_prob.double() - self.mean).abs()


@dataclass(frozen=True)
class Gradient(Score):
    """Norm of the gradient of log p(x) with respect to the weights of the first actnorm."""

    name: ClassVar[str] = "gradient"
    summary: ClassVar[str] = "gradient norm"
    paper: ClassVar[str] = "none"

    def score(self, batch: ModelledBatch) -> Tensor:
        weights = next(parameter for parameter in batch.model.parameters() if parameter.requires_grad)
        with torch.enable_grad():
            norms = [
                torch.autograd.grad(batch.model.log_prob(images, noise).sum(), weights)[0].norm()
                for images, noise in zip(batch.images.split(1), batch.noise.split(1), strict=True)
            ]
        return torch.stack(norms)

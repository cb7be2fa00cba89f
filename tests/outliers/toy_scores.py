"""Scores that a test adds, as a user's own file would."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scores.score import FittedScore, Numbers


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

    def describe(self, batch: ModelledBatch) -> Tensor:
        return batch.images.flatten(1).double().mean(dim=1)


@dataclass(frozen=True)
class BrightnessDistance(FittedScore):
    """Distance of the mean pixel value from its mean on the validation images."""

    name: ClassVar[str] = "brightness_distance"
    summary: ClassVar[str] = "distance of the brightness from its mean"
    paper: ClassVar[str] = "none"

    def describe(self, batch: ModelledBatch) -> Tensor:
        return batch.images.flatten(1).double().mean(dim=1)

    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:
        return {"mean": described.mean(axis=0)}

    def score(self, described: Numbers) -> Numbers:
        return np.abs(described[:, 0] - self.fitted["mean"][0])


@dataclass(frozen=True)
class Gradient(Score):
    """Norm of the gradient of log p(x) with respect to the weights of the first actnorm."""

    name: ClassVar[str] = "gradient"
    summary: ClassVar[str] = "gradient norm"
    paper: ClassVar[str] = "none"

    def describe(self, batch: ModelledBatch) -> Tensor:
        weights = next(parameter for parameter in batch.model.parameters() if parameter.requires_grad)
        with torch.enable_grad():
            norms = [
                torch.autograd.grad(batch.model.log_prob(images, noise).sum(), weights)[0].norm()
                for images, noise in zip(batch.images.split(1), batch.noise.split(1), strict=True)
            ]
        return torch.stack(norms)

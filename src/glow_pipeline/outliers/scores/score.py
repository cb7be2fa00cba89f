"""The interface of an outlier score."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.densities.density import Numbers as Numbers
from glow_pipeline.outliers.other_models import Kind, OtherModels

FittedOn = Literal["nothing", "validation images"]
Cost = Literal["one pass", "own passes"]


class Score(ABC):
    """A number for each image that is higher the less the image belongs to the training distribution.

    A score has two parts: `describe` computes some numbers of a batch from one pass of the flow that all scores share,
    and `score` turns them into one number an image. A score that is fitted learns from the numbers of the validation
    images in between. The direction is part of the formula; nothing is chosen by looking at outliers.

    A subclass is a small frozen dataclass. Its docstring has the formula, the paper, the cost and the known failure.

    Attributes:
        name: as it is typed (`ood.scores=nll`) and as its metrics are called.
        summary: the score in a few words.
        unit: unit of its values, in words; empty if it has none.
        short_unit: the unit as a part of the names of its column and its means.
        paper: the source.
        fitted_on: whether `fit` has to be called first.
        cost: whether it needs more than one pass of the flow and the codecs.
        needs: which models it needs beside the scored one; `with_models` hands them over.
        traces: whether `describe` uses the batch's levels.
        compresses: whether `describe` uses compressed sizes, which depend on the versions of the codecs.
        below_chance: the rest of a sentence that begins "An AUROC below 0.5".
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    unit: ClassVar[str] = ""
    short_unit: ClassVar[str] = ""
    paper: ClassVar[str]
    fitted_on: ClassVar[FittedOn] = "nothing"
    cost: ClassVar[Cost] = "one pass"
    needs: ClassVar[Kind | None] = None
    traces: ClassVar[bool] = False
    compresses: ClassVar[bool] = False
    below_chance: ClassVar[str] = "means that the outliers score lower than the test images"

    @abstractmethod
    def describe(self, batch: ModelledBatch) -> Tensor:
        """Return the numbers that the score needs of each image of a batch: (B,) or (B, d).

        Called without gradients; a score that differentiates enables them (`torch.enable_grad`). Averaged over
        `ood.draws` draws of the dequantization noise.
        """

    def score(self, described: Numbers) -> Numbers:
        """Return the scores (n,) of images that are described by (n, d) numbers; NaN counts as infinite."""
        scores: Numbers = described[:, 0]
        return scores

    def with_models(self, models: OtherModels) -> Self:  # noqa: ARG002
        """Return the score with the models that it needs beside the scored one."""
        return self

    @property
    def column(self) -> str:
        """Return the name of its column in the score table."""
        return f"{self.name}_{self.short_unit}" if self.short_unit else self.name

    @property
    def mean_name(self) -> str:
        """Return the name of a mean of its values, which follows `in_` or `out_`."""
        return self.short_unit or "mean"

    @property
    def label(self) -> str:
        """Return the label of an axis with its values."""
        return f"{self.summary}, {self.unit}" if self.unit else self.summary


@dataclass(frozen=True)
class FittedScore(Score):
    """A score with parameters that are fitted on the validation images.

    Attributes:
        fitted: the parameters by name; empty before `fit`. They are stored in the detector's file.
    """

    fitted: Mapping[str, Numbers] = field(default_factory=dict)

    fitted_on: ClassVar[FittedOn] = "validation images"

    def fit(self, described: Numbers, seed: int) -> Self:
        """Return the score fitted to images that are described by (n, d) finite numbers.

        Args:
            described: of the validation images; rows that are not finite are left out before.
            seed: of random draws, if the fit needs any.
        """
        return replace(self, fitted=self._fit(described, seed))

    @abstractmethod
    def _fit(self, described: Numbers, seed: int) -> dict[str, Numbers]:
        """Return the fitted parameters."""

    @abstractmethod
    def score(self, described: Numbers) -> Numbers:
        """Return the scores (n,) by the fitted parameters."""

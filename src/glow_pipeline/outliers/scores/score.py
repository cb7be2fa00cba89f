"""The interface of an outlier score."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal, Self

from torch import Tensor

from glow_pipeline.density import ModelledBatch

FittedOn = Literal["nothing", "fit images"]


class Score(ABC):
    """A number for each image that is higher the less the image belongs to the training distribution.

    A subclass is a small frozen dataclass. Its docstring has the formula, the paper, the cost and the known failure.

    Attributes:
        name: as it is typed (`ood.scores=nll`) and as its metrics are called.
        summary: the score in a few words.
        unit: unit of its values, in words; empty if it has none.
        short_unit: the unit as a part of the names of its column and its means.
        paper: the source.
        fitted_on: whether `fit` has to be called first, with images that the model was not trained on.
        below_chance: the rest of a sentence that begins "An AUROC below 0.5".
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    unit: ClassVar[str] = ""
    short_unit: ClassVar[str] = ""
    paper: ClassVar[str]
    fitted_on: ClassVar[FittedOn] = "nothing"
    below_chance: ClassVar[str] = "means that the outliers score lower than the test images"

    @abstractmethod
    def score(self, batch: ModelledBatch) -> Tensor:
        """Return the scores of a batch, (B,); NaN counts as infinite.

        Called without gradients; a score that differentiates enables them (`torch.enable_grad`).
        """

    def fit(self, batches: Iterable[ModelledBatch]) -> Self:  # noqa: ARG002
        """Return the score fitted to these images; a score that is fitted on nothing returns itself.

        Args:
            batches: can be read once.
        """
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

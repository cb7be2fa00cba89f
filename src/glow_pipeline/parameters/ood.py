"""The parameters of outlier scoring: `ood.*`."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.parameters.group import OneOf, ParameterGroup
from glow_pipeline.parameters.ingest import CLASSES, Classes
from glow_pipeline.registry import ALL


def _split(value: object) -> object:
    """Split `nll+complexity` at each `+`, and replace `all` by every score; a list stays as it is."""
    names = value.split("+") if isinstance(value, str) else value
    if names == [ALL]:
        return list(SCORES)
    return names if isinstance(names, list) and names else [value]  # no list of names: refused as a name


def _without_repetitions(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


ScoreNames = Annotated[
    list[Annotated[str, OneOf(SCORES)]], BeforeValidator(_split), AfterValidator(_without_repetitions)
]


class OodParameters(ParameterGroup):
    """Outlier scoring."""

    out_classes: Classes = Field(
        None, examples=CLASSES, description="use only outliers of these classes, as ingest.classes; null: all"
    )
    out_path: str | None = Field(
        None, description="folder of outliers; for out_dataset=folder; null: among the images of ingest.path"
    )

    batch_size: int = Field(256, ge=1, description="images scored at once")
    scores: ScoreNames = Field(
        ["nll"],
        examples=[*SCORES, ALL],
        description=f"scores to compute, several joined by +; all: every one ({SCORES.summaries()})",
    )
    score: Annotated[str, OneOf(SCORES)] | None = Field(
        None, description="score whose metrics have plain names, computed too; null: the first of ood.scores"
    )

    @property
    def score_names(self) -> list[str]:
        """Return the scores to compute, the one of `ood.score` first."""
        main = self.score or self.scores[0]
        return [main, *(name for name in self.scores if name != main)]

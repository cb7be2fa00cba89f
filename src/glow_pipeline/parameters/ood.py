"""The parameters of outlier scoring: `ood.*`."""

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scores.group_score import GroupScore
from glow_pipeline.outliers.scores.registry import ONE_PASS, RECOMMENDED
from glow_pipeline.parameters.group import OneOf, ParameterGroup, split_at_plus
from glow_pipeline.parameters.ingest import CLASSES, Classes
from glow_pipeline.registry import ALL


class ScoreNames(Collection[str]):
    """Names that `ood.scores` takes: the registered scores, and the groups `one_pass` and `all`."""

    def __iter__(self) -> Iterator[str]:
        return iter((*SCORES, ONE_PASS, ALL))

    def __contains__(self, name: object) -> bool:
        return name in (*SCORES, ONE_PASS, ALL)

    def __len__(self) -> int:
        return len(SCORES) + 2


def _split_scores(value: object) -> object:
    names = split_at_plus(value)
    return names if isinstance(names, list) and names else [value]  # no list of names: refused as a name


def one_pass_names() -> list[str]:
    """Return the names of all scores that need no more than one pass of the flow and the codecs."""
    return [score.name for score in SCORES.values() if score.cost == "one pass"]


def _scores_of(name: str) -> list[str]:
    """Return the scores that a name of `ood.scores` stands for."""
    if name == ALL:
        return list(SCORES)
    if name == ONE_PASS:
        return one_pass_names()
    return [name]


class OodParameters(ParameterGroup):
    """Outlier scoring."""

    out_classes: Classes = Field(
        None, examples=CLASSES, description="use only outliers of these classes, as ingest.classes; null: all"
    )
    out_path: str | None = Field(
        None,
        description="folder or address of outliers; for out_dataset=folder, shards; null: among the images of "
        "ingest.path",
    )

    batch_size: int | None = Field(
        None, ge=1, description="images scored at once; null: 256 on a CPU, on a GPU up to 4,096 of 32x32 pixels"
    )
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        1, description="processes on this machine that share the images, each on its own GPU; auto: one per GPU"
    )
    scores: Annotated[list[Annotated[str, OneOf(ScoreNames())]], BeforeValidator(_split_scores)] = Field(
        [ONE_PASS],
        examples=[*SCORES, ONE_PASS, ALL],
        description="scores to compute, several joined by +; one_pass: all that need one pass of the flow and the "
        "codecs; all: every one, except those that need other models where ood.background or ood.ensemble names none",
    )
    draws: int = Field(1, ge=1, description="draws of the dequantization noise over which scores are averaged")
    score: Annotated[str, OneOf(SCORES)] | None = Field(
        RECOMMENDED,
        description="the main score, computed in any case; its metrics have plain names (auroc), those of others end "
        "in their score's name (auroc.nll); null: the first of ood.scores",
    )
    background: str | None = Field(
        None,
        min_length=1,
        description="background model of likelihood_ratio, a version or a file; null: the newest that was trained on "
        "the dataset with train.mutation",
    )
    ensemble: Annotated[list[str] | None, BeforeValidator(split_at_plus)] = Field(
        None,
        min_length=2,
        examples=["version+version", "file+file"],
        description="models of waic, versions or files, two or more joined by +",
    )
    group_size: int = Field(
        1, ge=1, description="images that are judged together as a group, drawn by seed from each set; 1: no groups"
    )

    bootstrap: int = Field(
        1000, ge=0, description="resamples of the test images for the 95% intervals of the metrics; 0: no intervals"
    )

    @property
    def score_names(self) -> list[str]:
        """Return the scores to compute, the one of `ood.score` first."""
        names = [name for typed in self.scores for name in _scores_of(typed)]
        names = [name for name in names if name in self.scores or name not in self.left_out]
        return list(dict.fromkeys([self.score or names[0], *names]))

    @property
    def group_score_names(self) -> list[str]:
        """Return the scores by which groups of images are judged; none without groups."""
        return [name for name, score in SCORES.items() if isinstance(score, GroupScore)] if self.group_size > 1 else []

    @property
    def left_out(self) -> dict[str, str]:
        """Return the scores that `all` does not stand for here, with the parameter that names the models they need."""
        absent = [score for score in SCORES.values() if score.needs is not None and getattr(self, score.needs) is None]
        return {score.name: f"ood.{score.needs}" for score in absent if ALL in self.scores}

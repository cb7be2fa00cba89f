"""The parameters of judging a person's own images: `score.*`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.parameters.group import OneOf, ParameterGroup, split_at_plus


class ScoreParameters(ParameterGroup):
    """Verdicts on a person's own images."""

    images: str | None = Field(
        None,
        min_length=1,
        description="the images to judge: a folder with all below it, a file, or a pattern such as scans/**/*.png",
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="the model that judges, as a version or a file; null: stored_model, or the dataset's newest",
    )
    false_alarm_rate: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="largest share of images that belong which are called outliers, on average over calibration sets",
    )
    false_discovery_rate: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="share of false alarms, on average, among the files that Benjamini-Hochberg calls outliers",
    )
    scores: Annotated[list[Annotated[str, OneOf(SCORES)]], BeforeValidator(split_at_plus)] = Field(
        [],
        examples=[*SCORES],
        description="further scores in the table, several joined by +; ood.score is the main one",
    )
    heatmaps: Literal["suspicious", "all", "none"] = Field(
        "suspicious", description="heat maps of the images that the report shows, of all, or of none"
    )
    shown: int = Field(24, ge=1, le=500, description="most suspicious images that the report shows")
    on_resume: Literal["continue", "restart"] = Field(
        "continue",
        description="unchanged files that an earlier command scored with the same detector; continue: keep their "
        "scores; restart: score all anew",
    )
    history: bool = Field(True, description="add the images as a batch to the history of their detector")
    drift_rate: float = Field(
        0.01, gt=0, lt=1, description="probability that drift is ever reported, in any batch, although nothing changes"
    )

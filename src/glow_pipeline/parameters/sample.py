"""The parameters of sampling: `sample.*`."""

from typing import Annotated

from pydantic import Field

from glow_pipeline.parameters.group import OneOf, ParameterGroup
from glow_pipeline.parameters.ingest import CLASSES, Classes
from glow_pipeline.sampling import MODES
from glow_pipeline.sampling.latent_path import LatentPath


class SampleParameters(ParameterGroup):
    """The pictures that a model draws."""

    mode: Annotated[str, OneOf(MODES)] = Field("normal", description=MODES.summaries())
    n: int = Field(16, ge=1, description="images in a grid, per class if conditioned; n / 2 pairs in interpolate")
    temperature: float = Field(0.7, ge=0, description="factor on the latents in normal, levels and nearest")
    y: int | None = Field(None, ge=0, description="class to draw with a class-conditioned model; null: every class")
    frames: int = Field(40, ge=2, description="pictures from one end of a movement to the other")
    keep_frames: bool = Field(False, description="whether each picture of a movement is also stored as a PNG")
    path: LatentPath = Field("linear", description="between the latents of two images in interpolate")
    attribute: Classes = Field(
        None,
        examples=CLASSES,
        description="classes of the images with the attribute, as ingest.classes; for mode attribute; null: each class",
    )

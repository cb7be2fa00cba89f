"""The parameters of calibrating: `calibrate.*`."""

from pydantic import Field

from glow_pipeline.parameters.group import ParameterGroup


class CalibrateParameters(ParameterGroup):
    """The images that a detector is fitted on and calibrated with."""

    path: str | None = Field(
        None,
        description="folder of images that belong: scores are fitted to one half and calibrated on the other; null: "
        "the validation and calibration images of the model's training",
    )
    kept_images: int = Field(
        200,
        ge=0,
        le=5000,
        description="calibration images that the detector keeps, to be shown beside suspicious ones; 0: none",
    )

"""The parameters of ingest: `ingest.*`."""

import math
import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from glow_pipeline.images.decoding import MAX_PIXELS
from glow_pipeline.images.format import Background, Fit
from glow_pipeline.images.sources.kept_digests import Verify
from glow_pipeline.images.table import OnUnreadable
from glow_pipeline.parameters.group import Changeable, ParameterGroup

NUMBER = r"-?\d+(?:\.\d+)?"


def _parse_classes(value: object) -> object:
    """Split `3`, `0-4`, `0-4+7` or `cats+dogs` at each `+` and convert numbers; a list stays as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, str) and all(part.strip() for part in value.split("+")):
        return [int(part) if re.fullmatch("0|[1-9][0-9]{0,8}", part) else part for part in value.split("+")]
    if value is None or (isinstance(value, list) and value and all(_is_class(part) for part in value)):
        return value
    raise PydanticCustomError("classes", "Input should be a class, a range, or several: 3, 0-4, 0-4+7, cats+dogs")


def _is_class(part: object) -> bool:
    if isinstance(part, str):
        return bool(part.strip())
    return isinstance(part, int) and not isinstance(part, bool) and part >= 0


Classes = Annotated[list[int | str] | None, BeforeValidator(_parse_classes)]
CLASSES = [3, "0-4", "0-4+7", "cats+dogs"]


def _parse_grey_range(value: object) -> object:
    """Convert `0-4095`, `0..1`, `-1024..3071` or a list of two to [low, high]."""
    if isinstance(value, str) and (typed := re.fullmatch(rf"({NUMBER})(?:-|\.\.)({NUMBER})", value)):
        value = [float(end) for end in typed.groups()]
    if value is None:
        return value
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = value
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in value)
        if numbers and math.isfinite(low) and math.isfinite(high) and low < high:
            return [float(low), float(high)]
    raise PydanticCustomError("range", "Input should be a low and a higher high: 0-4095, 0..1, [-1024, 3071]")


GreyRange = Annotated[list[float] | None, BeforeValidator(_parse_grey_range)]


class IngestParameters(ParameterGroup):
    """The choice of images and their preparation."""

    classes: Classes = Field(
        None,
        examples=CLASSES,
        description="use only images of these classes (names: of a folder); null: all",
    )
    path: str | None = Field(
        None,
        description="folder or address (s3://...) of images, for dataset=folder, or of tar and parquet "
        "files, for shards",
    )
    eval_path: str | None = Field(
        None, description="the same of test images; for dataset=folder, shards; null: a part of ingest.path"
    )
    eval_percentage: float = Field(
        10.0,
        gt=0,
        lt=100,
        description="percent of the images held out for testing, drawn by seed and content; "
        "for dataset=folder, shards without eval_path",
    )
    name: str | None = Field(
        None,
        description="the folder's name in results and models; for dataset=folder, shards, or such an out_dataset "
        "without ood.out_path; null: its own",
    )

    size: int | list[int] | None = Field(
        None,
        examples=[32, "16x24", [16, 24]],
        description="side, or height x width, in pixels; null: the source's (28x28 becomes 32x32)",
    )
    channels: Literal[1, 3] | None = Field(None, description="1: grey; 3: RGB; null: the source's")
    fit: Fit = Field(
        "resize", description="how images reach that size; resize: antialiased bilinear; pad: black border"
    )
    range: GreyRange = Field(
        None,
        examples=["0-4095", "0..1", [-1024, 3071]],
        description="grey values that become 0 and 255 in images deeper than 8 bits; null: from the training files",
    )
    background: Background = Field("white", description="colour behind transparent pixels; most viewers show white")
    val_percentage: float = Field(
        5.0,
        gt=0,
        lt=100,
        description="percent of the training images held out for validation, drawn by seed; "
        "a source's own validation split is divided in the ratio of this and ingest.calibration_percentage",
    )
    calibration_percentage: float = Field(
        5.0,
        ge=0,
        lt=100,
        description="percent of the training images that choose nothing, drawn by seed; their scores, as those of "
        "unseen images, are stored in the detector; 0: none",
    )
    val_images: int | None = Field(
        None,
        ge=1,
        description="at most so many of the validation images, drawn by seed, are scored after each epoch and choose "
        "the best; scores are still fitted to all; null: all",
    )
    on_unreadable: OnUnreadable = Field(
        "stop", description="files that cannot be read; stop: list them and end the run; skip: list and leave them out"
    )
    max_pixels: int = Field(
        MAX_PIXELS, ge=1, description="largest height times width that is decoded; larger images count as unreadable"
    )
    verify: Changeable[Verify] = Field(
        "listing",
        description="how files of a folder are found unchanged since an earlier command read them; listing: by size, "
        "times and inode; contents: read and checksum all again",
    )
    num_workers: Changeable[int | None] = Field(None, ge=0, description="processes that decode; null: one per core")

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str | None) -> str | None:
        if name is not None and not name.strip():
            raise PydanticCustomError("name", "Input should be a name, or null for the folder's own")
        return name

    @field_validator("size", mode="before")
    @classmethod
    def _parse_size(cls, size: object) -> object:
        """Convert `16x24` to [16, 24], and check that sides are positive integers."""
        if isinstance(size, str) and re.fullmatch(r"[0-9]{1,9}x[0-9]{1,9}", size):
            size = [int(side) for side in size.split("x")]
        sides = size if isinstance(size, list) else [size]
        positive = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
        if size is not None and not (positive and len(sides) in (1, 2)):
            raise PydanticCustomError(
                "size", "Input should be a positive whole side, or height x width: 32, 16x24, [16, 24]"
            )
        return size

"""The parameters of ingest, model, training, sampling and scoring."""

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from glow_pipeline.device import Compile, DataOnDevice, PrecisionChoice
from glow_pipeline.flow.fast.execution import Activations
from glow_pipeline.flow.step import FlowCoupling, FlowPermutation
from glow_pipeline.images.decoding import MAX_PIXELS
from glow_pipeline.images.format import Background, Fit
from glow_pipeline.images.table import OnUnreadable
from glow_pipeline.parameters.interval import Interval

NUMBER = r"-?\d+(?:\.\d+)?"


class ParameterGroup(BaseModel):
    """Parameters that belong together; none is converted, and none that is not named here is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _classes(value: object) -> object:
    """Split `3`, `0-4`, `0-4+7` or `cats+dogs` at each `+`, with numbers as numbers; a list stays as it is."""
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


Classes = Annotated[list[int | str] | None, BeforeValidator(_classes)]


def _ends(value: object) -> object:
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


Ends = Annotated[list[float] | None, BeforeValidator(_ends)]


def _interval(value: float | str) -> float | str:
    try:
        Interval.of(value)
    except ValueError:
        raise PydanticCustomError("interval", "Input should be minutes or steps above 0: 10, 10min, 500steps") from None
    return value


class IngestParameters(ParameterGroup):
    """Which images, and how they are prepared."""

    classes: Classes = Field(
        None, description="images of these classes alone: 3, 0-4, 0-4+7, of a folder names too: cats+dogs; null: all"
    )
    path: str | None = Field(None, description="of dataset=folder: where the images are")
    eval_path: str | None = Field(None, description="of dataset=folder: where the images for testing are, if elsewhere")
    eval_percentage: float = Field(
        10.0,
        gt=0,
        lt=100,
        description="of dataset=folder without eval_path: percent that are for testing, drawn by seed and content",
    )
    name: str | None = Field(
        None,
        description="of dataset=folder, or out_dataset=folder without ood.out_path: name in results and models; "
        "null: the folder's",
    )

    size: int | list[int] | None = Field(
        None, description="side, or height x width, in pixels: 32, 16x24, [16, 24]; null: the source's"
    )
    channels: Literal[1, 3] | None = Field(None, description="1 grey, 3 RGB; null: the source's")
    fit: Fit = Field(
        "resize", description="how an image comes to that size: resize (antialiased bilinear) or pad (black border)"
    )
    range: Ends = Field(
        None,
        description="of images deeper than 8 bits: the grey values that become 0 and 255, as 0-4095, 0..1 or a list; "
        "null: by the training files",
    )
    background: Background = Field(
        "white", description="colour that transparent pixels are shown on: white, as most viewers do, or black"
    )
    val_percentage: float = Field(
        10.0,
        gt=0,
        lt=100,
        description="percent of the training images held out for validation, where the source has no such split",
    )
    on_unreadable: OnUnreadable = Field(
        "stop",
        description="files that cannot be read: stop lists them and ends the run, skip lists and leaves them out",
    )
    max_pixels: int = Field(
        MAX_PIXELS, ge=1, description="images with more pixels (height times width) are unreadable, not decoded"
    )
    num_workers: int | None = Field(None, ge=0, description="processes that decode; null: one for each core")

    @field_validator("name")
    @classmethod
    def _visible(cls, name: str | None) -> str | None:
        if name is not None and not name.strip():
            raise PydanticCustomError("name", "Input should be a name, or null for the folder's own")
        return name

    @field_validator("size", mode="before")
    @classmethod
    def _one_or_two_positive_sides(cls, size: object) -> object:
        if isinstance(size, str) and re.fullmatch(r"[0-9]{1,9}x[0-9]{1,9}", size):
            size = [int(side) for side in size.split("x")]
        sides = size if isinstance(size, list) else [size]
        whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
        if size is not None and not (whole and len(sides) in (1, 2)):
            raise PydanticCustomError(
                "size", "Input should be a positive whole side, or height x width: 32, 16x24, [16, 24]"
            )
        return size


class ModelParameters(ParameterGroup):
    """The flow; the seed's names and defaults."""

    K: int = Field(8, ge=1, description="steps of flow a level")
    L: int = Field(3, ge=1, le=16, description="levels; each halves both sides of the image")
    hidden_channels: int = Field(64, ge=1, description="width of the coupling networks")
    actnorm_scale: float = Field(
        1.0, gt=0, description="standard deviation of each channel after an actnorm's initialisation"
    )
    flow_permutation: FlowPermutation = Field("invconv", description="mixing of channels: invconv, shuffle or reverse")
    flow_coupling: FlowCoupling = Field("affine", description="coupling: affine or additive")
    scale_floor: float = Field(
        0.0, ge=0, lt=1, description="no affine coupling scales by less than this, so that the inverse stays bounded"
    )
    LU_decomposed: bool = Field(False, description="hold the 1x1 convolutions by their LU factors")
    learn_top: bool = Field(False, description="learn mean and scale of the top prior")
    y_condition: bool = Field(False, description="condition the top prior on the class")
    y_weight: float = Field(0.01, ge=0, description="weight of the class head's cross-entropy in the loss")
    num_classes: int | None = Field(None, ge=2, description="number of classes; null: the source's")
    n_bits: int | None = Field(None, ge=1, le=8, description="bits a channel; null: the source's (8; digits has 4)")


class TrainParameters(ParameterGroup):
    """The training; the seed's names and defaults."""

    batch_size: int = Field(128, ge=1, description="images a step")
    n_epochs: int = Field(100, ge=1, description="passes over the training images, in full batches")
    lr: float = Field(2e-4, gt=0, description="learning rate of Adamax")
    warmup: float = Field(
        10.0, ge=0, description="epochs over which the learning rate rises from 0, at most a tenth of n_epochs"
    )
    decay: float = Field(0.0, ge=0, description="weight decay of Adamax")
    max_grad_clip: float = Field(0.0, ge=0, description="clip each gradient value to this; 0: off")
    max_grad_norm: float = Field(0.0, ge=0, description="clip the gradient's norm to this; 0: off")
    activations: Activations = Field(
        "stored",
        description="kept for the backward pass: stored, checkpointed (computed again), reversible (constant in K)",
    )
    precision: PrecisionChoice = Field(
        "auto", description="of the coupling networks in training; auto: bfloat16 on a GPU that has it, else float32"
    )
    compile: Compile = Field(
        "auto", description="compiled kernels, and on a GPU one CUDA graph a step; auto: on a GPU, not on a CPU"
    )
    data_on_device: DataOnDevice = Field(
        "auto",
        description="the training images in the GPU's memory; auto: if they fill at most a quarter of it",
    )
    flip: bool = Field(False, description="mirror each training image left to right, every other time at random")
    num_workers: int = Field(0, ge=0, description="processes that read batches ahead; 0: read in the training process")
    sample_and_save_freq: int = Field(5, ge=1, description="every how many epochs samples are logged")
    checkpoint: str | None = Field(None, description="a stored model (.safetensors) whose weights training starts from")
    max_skipped_steps: int = Field(
        10, ge=1, description="steps in a row with a non-finite loss or gradient that end the run"
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of the weights' moving average, which then is evaluated, sampled and scored with; 0: off",
    )
    accumulate: int = Field(
        1, ge=1, description="parts that a batch goes through the model in, which takes so much less memory"
    )
    early_stopping: int = Field(
        0, ge=0, description="epochs without better bits/dim on the validation images that end the training; 0: off"
    )
    checkpoint_every: Annotated[float | str, AfterValidator(_interval)] = Field(
        10.0, description="minutes between checkpoints, or steps: 10, 10min, 500steps"
    )
    keep_checkpoints: int = Field(3, ge=1, description="how many of a training's newest checkpoints are kept")
    resume: str = Field(
        "auto",
        description="auto: where the same command was cut off; never: from the start; or a checkpoint, or its folder",
    )
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        1, description="processes on this machine that train together, on a GPU each; auto: one for each GPU"
    )
    nodes: int = Field(1, ge=1, description="machines on which this command is typed, to train together")
    rendezvous: str | None = Field(
        None, description="where these machines meet, host:port of the first; null: MASTER_ADDR and MASTER_PORT"
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="threads of a process on a CPU, also to score and sample; null: chosen by measurement",
    )
    max_restarts: int = Field(
        3, ge=0, description="how often the processes are started again, from the last checkpoint, after one died"
    )


class SampleParameters(ParameterGroup):
    """The pictures that a model draws."""

    mode: Literal["normal", "vtemp", "interpolate"] = Field(
        "normal",
        description="normal: a grid; vtemp: the same latents at temperatures 0 to 2; interpolate: between real images",
    )
    n: int = Field(16, ge=1, description="images in a grid, of each class if conditioned; in interpolate n / 2 pairs")
    temperature: float = Field(0.7, ge=0, description="factor on the latents in normal")
    y: int | None = Field(None, ge=0, description="the class to draw, of a class-conditioned model; null: each of them")
    frames: int = Field(40, ge=2, description="pictures from one end of a movement to the other")


class OodParameters(ParameterGroup):
    """Outlier scoring."""

    out_classes: Classes = Field(None, description="outliers of these classes alone, as ingest.classes")
    out_path: str | None = Field(
        None, description="of out_dataset=folder: where the outliers are; null: among the images of ingest.path"
    )

    batch_size: int = Field(256, ge=1, description="images scored at once")

"""Every parameter as a typed, bounded, documented field.

The values come from conf/ and from `--params`; the names of the seeds' flags are kept. A value that
these classes do not allow ends the run before anything has been read, fetched or written.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from glow_pipeline.device import DataOnDevice, PrecisionChoice
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow.execution import Activations
from glow_pipeline.flow.step import FlowCoupling, FlowPermutation
from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.registry import FOLDER, SOURCES
from glow_pipeline.images.spec import Fit, ImageSpec
from glow_pipeline.images.table import OnUnreadable
from glow_pipeline.training.acceleration import Compile
from glow_pipeline.training.checkpoints import Interval


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _classes(value: object) -> object:
    """`3`, `0-4`, `0-4+7` or a list -> list of classes. (Kedro splits what is typed at commas, lists too.)"""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if isinstance(value, str) and re.fullmatch(r"\d+(-\d+)?(\+\d+(-\d+)?)*", value):
        runs = [[int(end) for end in run.split("-")] for run in value.split("+")]
        return [k for run in runs for k in range(run[0], run[-1] + 1)]
    if value is None or (isinstance(value, list) and value and all(isinstance(k, int) and k >= 0 for k in value)):
        return value
    raise PydanticCustomError("classes", "Input should be a class, a range, or several: 3, 0-4, 0-4+7")


Classes = Annotated[list[int] | None, BeforeValidator(_classes)]


def _interval(value: float | str) -> float | str:
    try:
        Interval.of(value)
    except ValueError:
        raise PydanticCustomError("interval", "Input should be minutes or steps above 0: 10, 10min, 500steps") from None
    return value


class IngestParameters(_Group):
    """Which images, and how they are prepared."""

    classes: Classes = Field(None, description="images of these classes alone: 3, 0-4, 0-4+7; null: all")
    path: str | None = Field(None, description="of dataset=folder: where the images are")
    eval_path: str | None = Field(None, description="of dataset=folder: where the images for testing are, if elsewhere")
    eval_percentage: float = Field(
        10.0,
        gt=0,
        lt=100,
        description="of dataset=folder without eval_path: percent that are for testing, drawn by seed",
    )

    size: int | list[int] | None = Field(None, description="side, or [height, width], in pixels; null: the source's")
    channels: Literal[1, 3] | None = Field(None, description="1 grey, 3 RGB; null: the source's")
    fit: Fit = Field(
        "resize", description="how an image comes to that size: resize (antialiased bilinear) or pad (black border)"
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
    num_workers: int | None = Field(None, ge=0, description="processes that decode; null: one for each core")

    @field_validator("size", mode="before")
    @classmethod
    def _one_or_two_positive_sides(cls, size: object) -> object:
        sides = size if isinstance(size, list) else [size]
        whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
        if size is not None and not (whole and len(sides) in (1, 2)):
            raise PydanticCustomError("size", "Input should be a positive whole side, or [height, width]")
        return size


class ModelParameters(_Group):
    """The flow; the seed's names and defaults."""

    K: int = Field(8, ge=1, description="steps of flow a level")
    L: int = Field(3, ge=1, description="levels; each halves both sides of the image")
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


class TrainParameters(_Group):
    """The training; the seed's names and defaults."""

    batch_size: int = Field(128, ge=1, description="images a step")
    n_epochs: int = Field(100, ge=1, description="passes over the training images")
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
        None, description="where these machines meet, host:port of one of them; null: MASTER_ADDR and MASTER_PORT"
    )
    max_restarts: int = Field(
        3, ge=0, description="how often the processes are started again, from the last checkpoint, after one died"
    )


class SampleParameters(_Group):
    """The pictures that a model draws."""

    mode: Literal["normal", "vtemp", "interpolate"] = Field(
        "normal",
        description="normal: a grid; vtemp: the same latents at temperatures 0 to 2; interpolate: between real images",
    )
    n: int = Field(16, ge=1, description="images in a grid, of each class if conditioned; in interpolate n / 2 pairs")
    temperature: float = Field(0.7, ge=0, description="factor on the latents in normal")
    y: int | None = Field(None, ge=0, description="the class to draw, of a class-conditioned model; null: each of them")
    frames: int = Field(40, ge=2, description="pictures from one end of a movement to the other")


class OodParameters(_Group):
    """Outlier scoring."""

    out_classes: Classes = Field(None, description="outliers of these classes alone, as ingest.classes")
    out_path: str | None = Field(
        None, description="of out_dataset=folder: where the outliers are; null: among the images of ingest.path"
    )

    batch_size: int = Field(256, ge=1, description="images scored at once")


def _number(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise PydanticCustomError("number", "Input should be a finite number")


def _choices(value: object) -> object:
    if (
        isinstance(value, list)
        and all(choice is None or isinstance(choice, bool | int | float | str) for choice in value)
        and 0 < len(value) == len({repr(choice) for choice in value})
    ):
        return value
    raise PydanticCustomError("choices", "Input should be a list of different numbers, words, true, false or null")


Number = Annotated[int | float, PlainValidator(_number)]
Choices = Annotated[list[bool | int | float | str | None], PlainValidator(_choices)]


class Range(_Group):
    """What a search may set one parameter to: all from low to high, or one of the choices."""

    low: Number | None = None
    high: Number | None = None
    step: Annotated[Number, Field(gt=0)] | None = None
    log: bool | None = None
    choices: Choices | None = None

    @model_validator(mode="after")
    def _has_two_ends(self) -> Self:
        if self.choices is not None:
            if (self.low, self.high, self.step, self.log) != (None,) * 4:
                raise PydanticCustomError(
                    "range",
                    "Input should be choices alone; set to null what another file has of low, high, step and log",
                )
            return self
        if self.low is None or self.high is None or self.low >= self.high:
            raise PydanticCustomError("range", "Input should be a low and a higher high, or choices")
        if self.log and self.step is not None:
            raise PydanticCustomError("range", "Input should be in steps or logarithmic, not both")
        if self.log and self.low <= 0:
            raise PydanticCustomError("range", "Input should be above 0 to be logarithmic")
        if self.step and (Decimal(str(self.high)) - Decimal(str(self.low))) % Decimal(str(self.step)):
            raise PydanticCustomError("range", "Input should be a high that whole steps lead to")
        return self


RANGES: dict[str, dict[str, Any] | None] = {
    "train.lr": {"low": 1e-4, "high": 5e-3, "log": True},
    "model.K": {"low": 4, "high": 16, "step": 4},
    "model.hidden_channels": {"choices": [32, 64, 128]},
}


class SearchParameters(_Group):
    """The search for better parameters."""

    n_trials: int = Field(
        20, ge=1, description="trials to finish, those of earlier commands and other machines counted"
    )
    study: str | None = Field(
        None, min_length=1, description="name of the search; null: the images and a digest of all that trials depend on"
    )
    storage: str = Field(
        "sqlite:///data/06_models/optuna.db",
        description="SQLAlchemy address of the search's database; $NAME in it is taken from the environment",
    )
    ranges: dict[str, Range | None] = Field(
        RANGES,
        validate_default=True,
        description="what is searched: low and high with log or step, or choices; null: not searched",
    )
    pruner: Literal["median", "none"] = Field(
        "median", description="median: stop a trial that is worse than half of the finished ones were; none: never"
    )
    warmup_epochs: int = Field(5, ge=0, description="epochs of each trial before it may be pruned")
    startup_trials: int = Field(5, ge=0, description="trials to complete before any is pruned")

    @field_validator("ranges", mode="before")
    @classmethod
    def _by_dotted_name(cls, ranges: object) -> object:
        """Kedro makes of `search.ranges.train.lr.high=0.01` {"train": {"lr": {"high": 0.01}}}, beside "train.lr"."""
        if not isinstance(ranges, dict):
            return ranges
        groups = {
            name: value
            for name, value in ranges.items()
            if isinstance(value, Mapping) and "." not in str(name) and not set(value) & set(Range.model_fields)
        }
        flat = {name: value for name, value in ranges.items() if name not in groups}
        for group, typed in groups.items():
            for leaf, value in typed.items():
                name = f"{group}.{leaf}"
                flat[name] = {**(flat.get(name) or {}), **value} if isinstance(value, Mapping) else value
        return flat

    @field_serializer("ranges")
    def _without_what_is_not_said(self, ranges: dict[str, Range | None]) -> dict[str, Any]:
        return {name: given and given.model_dump(exclude_unset=True) for name, given in ranges.items()}

    @property
    def searched(self) -> dict[str, Range]:
        """The ranges without those that are switched off, in the order of their names."""
        return {name: given for name, given in sorted(self.ranges.items()) if given is not None}


class Parameters(_Group):
    """All of them."""

    dataset: str = Field("digits", description="in-distribution images: trained on, and what outliers are told from")
    out_dataset: str = Field("textures", description="out-of-distribution images")
    seed: int = Field(0, ge=0, description="of every random draw")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto: cuda, else mps, else cpu")
    ingest: IngestParameters = IngestParameters()
    model: ModelParameters = ModelParameters()
    train: TrainParameters = TrainParameters()
    sample: SampleParameters = SampleParameters()
    ood: OodParameters = OodParameters()
    search: SearchParameters = SearchParameters()

    @field_validator("dataset", "out_dataset")
    @classmethod
    def _known_source(cls, name: str) -> str:
        if name not in SOURCES:
            raise PydanticCustomError("source", "Input should be one of those that `make sources` lists")
        return name

    @property
    def image_set(self) -> ImageSet:
        """The images that `dataset` stands for."""
        if self.dataset == FOLDER.name:
            return self._folder(self.ingest.path, self.ingest.eval_path, self.ingest.classes)
        return ImageSet.of(self.dataset, self.ingest.classes)

    @property
    def out_image_set(self) -> ImageSet:
        """The images that `out_dataset` stands for; all those of `ood.out_path` are for testing."""
        if self.out_dataset != FOLDER.name:
            return ImageSet.of(self.out_dataset, self.ood.out_classes)
        if self.ood.out_path is None:
            return self._folder(self.ingest.path, self.ingest.eval_path, self.ood.out_classes)
        return self._folder(self.ood.out_path, self.ood.out_path, self.ood.out_classes)

    def _folder(self, path: str | None, eval_path: str | None, classes: list[int] | None) -> ImageSet:
        return ImageSet.of_folder(path or "", eval_path, self.ingest.eval_percentage, self.seed, classes)

    @property
    def image_spec(self) -> ImageSpec:
        """The images as these parameters ask for them; what is null comes from the source."""
        source, size = SOURCES[self.dataset], self.ingest.size
        height, width = (
            source.default_size if size is None else (size, size) if isinstance(size, int) else (size[0], size[-1])
        )
        return ImageSpec(
            channels=self.ingest.channels or source.channels,
            height=height,
            width=width,
            n_bits=self.model.n_bits or source.n_bits,
            fit=self.ingest.fit,
        )

    @property
    def num_classes(self) -> int:
        return self.model.num_classes or SOURCES[self.dataset].num_classes


def parse_parameters(raw: dict[str, Any]) -> Parameters:
    """Raw configuration -> checked parameters.

    Raises:
        GlowPipelineError: one line about the first thing that is wrong.
    """
    try:
        parameters = Parameters.model_validate(raw)
    except ValidationError as invalid:
        errors = invalid.errors()
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise GlowPipelineError(_one_line(errors[0]) + more) from None
    _check_together(parameters)
    return parameters


def with_values(parameters: Parameters, values: Mapping[str, object]) -> Parameters:
    """These parameters with some, by their dotted names, set to other values; checked as `parse_parameters` does."""
    raw = parameters.model_dump()
    for name, value in values.items():
        group, _, leaf = name.partition(".")
        raw[group][leaf] = value
    return parse_parameters(raw)


def known_names() -> list[str]:
    """Every parameter as it is typed: `dataset`, `model.K`, ..."""
    names = []
    for name, field in Parameters.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            names += [f"{name}.{leaf}" for leaf in group.model_fields]
        else:
            names.append(name)
    return names


def _one_line(error: ErrorDetails) -> str:
    parts = [part for part in error["loc"] if isinstance(part, str) and part not in ("int", "list[int]")]
    key, value = ".".join(parts), error["input"]
    if error["type"] == "extra_forbidden":
        shown = value if isinstance(value, str) and value.isprintable() else repr(value)
        if parts[:2] == ["search", "ranges"]:
            return f"{key}={shown}: unknown; {nearest(parts[-1], list(Range.model_fields))}"
        return f"{key}={shown}: unknown parameter; {nearest(key, known_names())}"
    message = error["msg"].removeprefix("Input should be ")
    hint = f"; {nearest(value, list(SOURCES))}" if error["type"] == "source" else ""
    return f"{key}={value!r}: should be {message}{hint}"


def nearest(name: object, known: list[str]) -> str:
    """`did you mean ...?`, or all that are known where nothing is like it."""
    same_leaf = [candidate for candidate in known if candidate.rpartition(".")[2] == name]
    close = same_leaf or get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def _check_together(parameters: Parameters) -> None:
    """What no field can know alone."""
    spec, model, source = parameters.image_spec, parameters.model, SOURCES[parameters.dataset]
    if parameters.ingest.path is None and FOLDER.name in (parameters.dataset, parameters.out_dataset):
        if parameters.dataset == FOLDER.name:
            raise GlowPipelineError("ingest.path=null: dataset=folder needs a folder of images; set ingest.path")
        if parameters.ood.out_path is None:
            raise GlowPipelineError("ood.out_path=null: out_dataset=folder needs a folder of images; set ood.out_path")
    for key, classes, name in (
        ("ingest.classes", parameters.ingest.classes, parameters.dataset),
        ("ood.out_classes", parameters.ood.out_classes, parameters.out_dataset),
    ):
        known = SOURCES[name].num_classes
        if classes is not None and name != FOLDER.name and max(classes) >= known:
            raise GlowPipelineError(f"{key}={classes}: {name} has the classes 0 to {known - 1}")
    if parameters.train.flip and not source.mirrors:
        raise GlowPipelineError(
            f"train.flip=True: a mirror image of {source.name} ({source.title}) is none of them; set train.flip=false"
        )
    if spec.n_bits > source.n_bits:
        raise GlowPipelineError(
            f"model.n_bits={model.n_bits}: {source.name} has images of {source.n_bits} bits; "
            f"allowed are 1 to {source.n_bits}"
        )
    deepest = min((side & -side).bit_length() - 1 for side in (spec.height, spec.width))
    if deepest < model.L:
        lower = f"lower model.L to at most {deepest}, or " if deepest else ""
        raise GlowPipelineError(
            f"model.L={model.L}: each level halves the image, and {spec.height}x{spec.width} can be halved "
            f"{deepest} times; {lower}set ingest.size to a multiple of {2**model.L}"
        )
    if model.flow_coupling == "additive" and model.scale_floor > 0:
        raise GlowPipelineError(
            f"model.scale_floor={model.scale_floor}: an additive coupling has no scale; "
            f"set model.scale_floor=0, or model.flow_coupling=affine"
        )
    if model.y_condition and parameters.num_classes < source.num_classes:
        raise GlowPipelineError(
            f"model.num_classes={model.num_classes}: {source.name} has {source.num_classes} classes; "
            f"use at least {source.num_classes}, or null"
        )

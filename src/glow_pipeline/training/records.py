"""The records in the headers of models and checkpoints."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from glow_pipeline.device import Compile
from glow_pipeline.flow.fast.execution import Activations
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.table import TableRecord
from glow_pipeline.training.history import History


class Provenance(BaseModel):
    """The run in which something was made."""

    model_config = ConfigDict(frozen=True)

    kedro_session: str | None = None
    mlflow_run_id: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    versions: dict[str, str] = {}


class ModelRecord(BaseModel):
    """The record of a model: its flow, the images it was trained on, and the run that made it."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)

    dataset: str
    image_format: ImageFormat = Field(alias="image_spec")  # the name in files
    num_classes: int
    flow: dict[str, Any]  # keyword arguments of Glow beside the image's shape and bits
    parameters: dict[str, Any]  # all parameters of the run, after validation
    train_table: TableRecord
    device: str
    epochs: int
    best_epoch: int
    steps: int
    val_bits_per_dim: float | None
    provenance: Provenance
    started_from: str | None = None  # the model of train.checkpoint, and its SHA-256
    resumed_from: list[str] = []  # the checkpoints from which its training was resumed
    test_table: TableRecord | None = None  # of the images held out for testing when it was trained
    diverged: bool = False  # whether its training ended in steps that were not finite, after the best epoch


class Computation(BaseModel):
    """The way in which a training is computed. Another value may change the last bits of its results."""

    model_config = ConfigDict(frozen=True)

    device: str  # in words, with processes and threads
    threads: int  # of each process on a CPU
    activations: Activations
    compile: Compile
    accumulate: int


class CheckpointRecord(BaseModel):
    """Everything that a checkpoint records of a training beside its tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    identity: dict[str, Any]  # parameters that a resumed training may not change, by dotted names
    train_table: TableRecord
    num_classes: int
    computation: Computation
    provenance: Provenance
    mlflow_run_id: str | None = None
    started_from: str | None = None  # the model of train.checkpoint, and its SHA-256
    resumed_from: list[str] = []  # the names of earlier checkpoints from which the training was resumed
    warmup_steps: float = 0.0  # over which the learning rate rises
    history: History = Field(default_factory=History)

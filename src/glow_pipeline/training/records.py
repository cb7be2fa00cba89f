"""The records in the headers of models and checkpoints."""

import hashlib
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from glow_pipeline.device import Compile
from glow_pipeline.flow.fast.execution import Activations, Precision
from glow_pipeline.images.content_sets import pieces
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.parts import Parts
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.history import History


class PartRecord(BaseModel):
    """Images of one part of the training table, and what they decided.

    Attributes:
        count: number of images.
        content_sha256: SHA-256 of their content hashes, as little-endian int64 in the table's order.
        chose: what these images chose.
    """

    model_config = ConfigDict(frozen=True)

    count: int
    content_sha256: str
    chose: tuple[Literal["weights", "epoch"], ...]

    @classmethod
    def of(cls, images: ImageTable, *chose: Literal["weights", "epoch"]) -> Self:
        digest = hashlib.sha256()
        for hashes in pieces(images.stored_hashes):
            digest.update(np.ascontiguousarray(hashes, dtype="<i8").data)
        return cls(count=len(images), content_sha256=digest.hexdigest(), chose=chose)


class PartRecords(BaseModel):
    """Record of the parts of the training table: which images chose what."""

    model_config = ConfigDict(frozen=True)

    fit: PartRecord
    validation: PartRecord
    calibration: PartRecord

    @classmethod
    def of(cls, parts: Parts) -> Self:
        return cls(
            fit=PartRecord.of(parts.fit, "weights"),
            validation=PartRecord.of(parts.validation, "epoch"),
            calibration=PartRecord.of(parts.calibration.table),
        )


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
    precision: Precision | None = None  # of the coupling networks in training; None: of an earlier version
    epochs: int
    best_epoch: int
    steps: int
    val_bits_per_dim: float | None
    provenance: Provenance
    started_from: str | None = None  # the model of train.checkpoint, and its SHA-256
    resumed_from: list[str] = []  # the checkpoints from which its training was resumed
    test_table: TableRecord | None = None  # of the images held out for testing when it was trained
    diverged: bool = False  # whether its training ended in steps that were not finite, after the best epoch
    parts: PartRecords | None = None  # None: of an earlier version

    @field_validator("parameters")
    @classmethod
    def _complete_parameters(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Add the percentage that models of earlier versions do not record: they had no calibration images."""
        if "ingest" not in parameters:
            return parameters
        return {**parameters, "ingest": {"calibration_percentage": 0.0, **parameters["ingest"]}}


class Computation(BaseModel):
    """The way in which a training is computed. Another value may change the last bits of its results."""

    model_config = ConfigDict(frozen=True)

    device: str  # in words, with processes and threads
    threads: int  # of each process on a CPU
    activations: Activations
    compile: Compile
    accumulate: int
    precision: Precision | None = None  # of the coupling networks; None: of an earlier version


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
    parts: PartRecords | None = None  # None: of an earlier version, or of a trial of a search
    history: History = Field(default_factory=History)

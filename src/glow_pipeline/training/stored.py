"""A trained flow in a file: safetensors, with everything that is known of the model in the header."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole
from glow_pipeline.flow import Glow
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.images.table import TableRecord
from glow_pipeline.training.state import Weights

HEADER_KEY = "glow_pipeline"


class Provenance(BaseModel):
    """The run in which something was made."""

    model_config = ConfigDict(frozen=True)

    kedro_session: str | None = None
    mlflow_run_id: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    versions: dict[str, str] = {}


class ModelRecord(BaseModel):
    """What a model is, what it was trained on, and how it came about."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    image_spec: ImageSpec
    num_classes: int
    flow: dict[str, Any]  # keyword arguments of Glow beside the image's shape and bits
    parameters: dict[str, Any]  # all parameters of the run, as they were checked
    train_table: TableRecord
    device: str
    epochs: int
    best_epoch: int
    steps: int
    val_bits_per_dim: float | None
    provenance: Provenance
    started_from: str | None = None  # the model of train.checkpoint, and its SHA-256
    resumed_from: list[str] = []  # the checkpoints at which its training was taken up again


@dataclass(frozen=True)
class TrainedGlow:
    """A flow with its record."""

    flow: Glow
    record: ModelRecord


def build_flow(spec: ImageSpec, arguments: dict[str, Any], generator: torch.Generator | None = None) -> Glow:
    """An untrained Glow for images of this spec."""
    flow = Glow(spec.shape, n_bits=spec.n_bits, generator=generator, **arguments)
    return flow.to(memory_format=torch.channels_last)


def write_model(path: Path, record: ModelRecord, weights: Weights) -> None:
    """Write a model whole or not at all; `weights` is a state dict of its flow, on any device."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    content = save(tensors, metadata={HEADER_KEY: record.model_dump_json()})
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def read_record(path: Path) -> ModelRecord:
    """The record alone; reads the header only.

    Raises:
        GlowPipelineError: the file is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise GlowPipelineError(f"{path}: no such file; give the path of a stored .safetensors model")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER_KEY)
    except SafetensorError as damaged:
        raise GlowPipelineError(
            f"{path}: not a whole safetensors file ({damaged}); use another version of the model"
        ) from None
    if header is None:
        raise GlowPipelineError(
            f"{path}: a safetensors file without a glow_pipeline record; use a model of this project"
        )
    try:
        return ModelRecord.model_validate_json(header)
    except ValidationError as invalid:
        problem = invalid.errors()[0]
        raise GlowPipelineError(
            f"{path}: its record cannot be read ({problem['loc']}: {problem['msg']}); use a model of this version"
        ) from None


def read_model(path: Path) -> TrainedGlow:
    """Read a model, on the CPU and in evaluation mode.

    Raises:
        GlowPipelineError: as `read_record`, or the weights are not those of the flow that the record describes.
    """
    record = read_record(path)
    try:
        flow = build_flow(record.image_spec, record.flow)
        with safe_open(path, framework="pt") as file:
            flow.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (RuntimeError, TypeError, ValueError) as mismatch:
        raise GlowPipelineError(
            f"{path}: weights and record do not fit together ({' '.join(str(mismatch).split())[:200]}); "
            f"use a model of this version"
        ) from None
    return TrainedGlow(flow.eval(), record)

"""Trained flows in files: safetensors with a record of the model in the header.

The record has the number of the file's format. A file of an earlier format is converted when it is read; if that is
impossible, it is refused with the commit that reads it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole
from glow_pipeline.flow import Glow
from glow_pipeline.flow.coupling import COUPLINGS
from glow_pipeline.images.content_sets import distinct
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.table import TableRecord
from glow_pipeline.training.records import ModelRecord
from glow_pipeline.training.safetensors_file import write_safetensors
from glow_pipeline.training.state import Weights

MODEL_FILE = "glow_model.safetensors"  # name of a stored model's file, and of the folder of its versions
HEADER_KEY = "glow_pipeline"
FORMAT = 2  # 1, without a number: until November 2026
TRAINED_ON, CALIBRATION = "record.trained_on", "record.calibration"  # tensors beside the weights


@dataclass(frozen=True)
class TrainedGlow:
    """A flow with its record.

    Attributes:
        trained_on: content hashes, sorted (n,), of all images that its weights depend on: those it was fitted to, those
            that chose its epoch, and those of the model it started from. None if that was not recorded (format 1).
        calibration: content hashes, sorted (m,), of its calibration images. None if that was not recorded.
        file: from which it was read; None: it was not read from a file.
    """

    flow: Glow
    record: ModelRecord
    trained_on: NDArray[np.int64] | None = None
    calibration: NDArray[np.int64] | None = None
    file: Path | None = None

    @property
    def not_for_testing(self) -> NDArray[np.int64] | None:
        """Content hashes of the images that may not be tested on: trained on or for calibration. None: unknown."""
        if self.trained_on is None or self.calibration is None:
            return self.trained_on
        return distinct([self.trained_on, self.calibration])


def build_flow(image_format: ImageFormat, arguments: dict[str, Any], generator: torch.Generator | None = None) -> Glow:
    """Return an untrained Glow for images of this format."""
    flow = Glow(image_format.shape, n_bits=image_format.n_bits, generator=generator, **arguments)
    return flow.to(memory_format=torch.channels_last)


def write_model(
    path: Path,
    record: ModelRecord,
    weights: Weights,
    trained_on: NDArray[np.int64] | None = None,
    calibration: NDArray[np.int64] | None = None,
) -> None:
    """Write a model completely or not at all.

    Args:
        path: path of the file.
        record: record of the model.
        weights: a state dict of its flow, on any device.
        trained_on, calibration: as in `TrainedGlow`.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    for name, hashes in ((TRAINED_ON, trained_on), (CALIBRATION, calibration)):
        if hashes is not None:
            tensors[name] = torch.from_numpy(hashes)
    header = json.dumps({"format": FORMAT, **record.model_dump(mode="json")})
    with written_whole(path) as temporary:
        write_safetensors(temporary, tensors, {HEADER_KEY: header})


def read_record(path: Path) -> ModelRecord:
    """Read the record alone, from the header.

    Raises:
        GlowPipelineError: the file is missing, damaged, not one of ours, or of a format that is not read here.
    """
    if not path.is_file():
        raise GlowPipelineError(f"{path}: no such file; give the path of a stored .safetensors model")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except SafetensorError as damaged:
        raise GlowPipelineError(
            f"{path}: not a complete safetensors file ({damaged}); use another version of the model"
        ) from None
    if HEADER_KEY not in header:
        raise GlowPipelineError(
            f"{path}: a safetensors file without a glow_pipeline record; use a model of this project"
        )
    try:
        record = json.loads(header[HEADER_KEY])
        written_in = record.get("format", 1)
        if written_in > FORMAT:
            raise GlowPipelineError(
                f"{path}: a model of format {written_in}, and this version of glow_pipeline reads 1 to {FORMAT}; "
                f"update it"
            )
        if written_in == 1:
            record = _from_format_1(record)
        return ModelRecord.model_validate_json(json.dumps(record))
    except (ValidationError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as invalid:
        problem = invalid.errors()[0]["loc"] if isinstance(invalid, ValidationError) else invalid
        raise GlowPipelineError(
            f"{path}: its record cannot be read ({problem}); {_remedy(header[HEADER_KEY])}"
        ) from None


def _from_format_1(record: Any) -> Any:
    """Name a folder's model as folders are named now; the images it was trained and tested on stay unknown."""
    image_selection = TableRecord.model_validate(record["train_table"]).image_selection
    return {**record, "dataset": image_selection.key} if image_selection.is_folder else record


def _remedy(record: str) -> str:
    try:
        commit = json.loads(record)["provenance"]["git_commit"]
    except (json.JSONDecodeError, KeyError, TypeError):
        commit = None
    return "train it again, or use another model" if commit is None else f"commit {commit} wrote it, and reads it"


def read_trained_on(path: Path) -> NDArray[np.int64] | None:
    """Read `trained_on` of a `TrainedGlow` alone, as a memory map."""
    with safe_open(path, framework="pt") as file:  # torch maps a file, numpy gets a copy
        found: NDArray[np.int64] | None = file.get_tensor(TRAINED_ON).numpy() if TRAINED_ON in file.keys() else None  # noqa: SIM118
    return found


def read_model(path: Path) -> TrainedGlow:
    """Read a model, on the CPU and in evaluation mode.

    Raises:
        GlowPipelineError: as `read_record`, or its coupling is unknown, or the weights do not fit the flow that the
            record describes.
    """
    record = read_record(path)
    coupling = record.flow.get("flow_coupling", "affine")
    if coupling not in COUPLINGS:
        raise GlowPipelineError(
            f"{path}: a model with the coupling {coupling}, which is not in COUPLINGS of flow/coupling.py; add it there"
        )
    try:
        flow = build_flow(record.image_format, record.flow)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        trained_on, calibration = (tensors.pop(name, None) for name in (TRAINED_ON, CALIBRATION))
        flow.load_state_dict(tensors)
    except (RuntimeError, TypeError, ValueError) as mismatch:
        raise GlowPipelineError(
            f"{path}: weights and record do not fit together ({' '.join(str(mismatch).split())[:200]}); "
            f"use a model of this version"
        ) from None
    return TrainedGlow(
        flow.eval(),
        record,
        None if trained_on is None else trained_on.numpy(),
        None if calibration is None else calibration.numpy(),
        path,
    )

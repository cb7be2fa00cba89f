"""Interrupted trainings, for tests of what resumes them."""

from pathlib import Path

import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.identity import identity
from glow_pipeline.training.resume import ClaimedTraining
from tests.training.helpers import checkpoint_record

FORMER_SPLIT = Parameters.model_validate({"ingest": {"val_percentage": 10.0, "calibration_percentage": 0.0}})
OLD_FORMAT = Path(__file__).parents[1] / "old_formats" / "step_000000002.2a650d77079403ca.safetensors"


def parameters(**train: object) -> Parameters:
    return Parameters.model_validate({"train": train})


def interrupted(
    folder: Path, of: Parameters, step: int = 5, epochs: int = 1, resumed_from: tuple[str, ...] = ()
) -> Path:
    """Write an interrupted training of these parameters, and return its newest checkpoint."""
    record = checkpoint_record(
        step, epochs, identity=identity(of), mlflow_run_id=folder.name, resumed_from=list(resumed_from)
    )
    return TrainingFolder(folder).write(Checkpoint({"weight": torch.zeros(1)}, record), 3)


def former(folder: Path) -> Path:
    """Write an interrupted training of a version without calibration images, and return its checkpoint."""
    identity_then = {**identity(Parameters()), "ingest.val_percentage": 10.0}
    del identity_then["ingest.calibration_percentage"]
    record = checkpoint_record(5, 1, identity=identity_then)
    return TrainingFolder(folder).write(Checkpoint({"weight": torch.zeros(1)}, record), 3)


def line_of(error: pytest.ExceptionInfo[GlowPipelineError]) -> str:
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def folder_of(training: ClaimedTraining) -> Path:
    assert training.folder is not None
    return training.folder.path

"""The records of a training that name its precision, and the model that it starts from."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from glow_pipeline.files import sha256
from glow_pipeline.flow.coupling import COUPLINGS
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import parse_parameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.history import History
from glow_pipeline.training.model_file import MODEL_FILE
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.new_records import initial_record, model_record, warn_of_changes
from glow_pipeline.training.records import CheckpointRecord, Computation
from glow_pipeline.training.shipped_models import SHIPPED
from glow_pipeline.training.start_summary import announce
from glow_pipeline.training.task import TrainingTask
from tests.conftest import MakeTable, random_images
from tests.flow.test_new_coupling import ExpCoupling
from tests.project import ROOT
from tests.training.helpers import checkpoint_record

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(24), 4)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend a GPU that computes with bfloat16, and a coupling without a folded form."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (2**30, 2**32))
    monkeypatch.setitem(COUPLINGS, "exp", ExpCoupling)


def task_of(table: ImageTable, coupling: str, precision: str = "auto") -> TrainingTask:
    model = {"K": 1, "L": 2, "hidden_channels": 4, "n_bits": 4, "flow_coupling": coupling}
    train = {"batch_size": 8, "precision": precision}
    return TrainingTask(table, table, parse_parameters({"model": model, "train": train}), Provenance())


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("coupling", "device", "precision", "recorded"),
    [
        ("affine", CUDA, "auto", "bfloat16"),
        ("affine", CUDA, "tf32", "tf32"),
        ("affine", CPU, "auto", "float32"),
        ("exp", CUDA, "auto", "float32"),
        ("exp", CUDA, "float32", "float32"),
    ],
)
def test_precision_of_training_is_recorded_and_announced(
    table: ImageTable,
    capsys: pytest.CaptureFixture[str],
    coupling: str,
    device: torch.device,
    precision: str,
    recorded: str,
) -> None:
    """Plain layers train in float32, also where `auto` is bfloat16 for others."""
    task = task_of(table, coupling, precision)
    flow = untrained_flow(task.parameters, table.record.image_format, 3)
    record = initial_record(task, flow, None, device, 1, 1)
    assert record.computation.precision == recorded
    assert model_record(task, flow, record, History()).precision == recorded
    assert CheckpointRecord.model_validate_json(record.model_dump_json()) == record
    with FakeTensorMode(allow_non_fake_inputs=True):
        announce(task, flow.to(device), scored=8, processes=1, steps_done=0, device="a device")
    assert f" on a device in {recorded}; " in capsys.readouterr().err


def computed(precision: str | None) -> CheckpointRecord:
    record = checkpoint_record()
    computation: dict[str, Any] = {**record.computation.model_dump(), "precision": precision}
    return record.model_copy(update={"computation": Computation(**computation)})


def test_other_precision_is_reported_on_resume(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_changes(computed(None), computed("bfloat16"))  # of an earlier version
        assert caplog.messages == []
        warn_of_changes(computed("float32"), computed("bfloat16"))
    assert caplog.messages == [
        "This training resumes with another precision bfloat16 instead of float32: it may not end in the same bits as "
        "without a stop."
    ]


def test_model_that_training_starts_from_is_recorded(table: ImageTable, tmp_path: Path) -> None:
    shipped = ROOT / SHIPPED / "digits" / MODEL_FILE
    own = Path(shutil.copy(shipped, tmp_path / "mine.safetensors"))
    for typed, name in (("digits", f"models/digits/{MODEL_FILE}"), (str(own), "mine.safetensors")):
        task = task_of(table, "affine")
        train = task.parameters.train.model_copy(update={"checkpoint": typed})
        started = replace(task, parameters=task.parameters.model_copy(update={"train": train}))
        flow = untrained_flow(task.parameters, table.record.image_format, 3)
        record = initial_record(started, flow, None, CPU, 1, 1)
        assert record.started_from == f"{name} sha256:{sha256(shipped)}"

"""Checks of a training before it starts."""

from pathlib import Path

import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters, TrainParameters
from glow_pipeline.training.checks import check_batch_size, check_processes, check_shared, check_stage, check_training

CPU = torch.device("cpu")


def test_stage_is_a_folder_of_this_machine(tmp_path: Path) -> None:
    check_stage(None)
    check_stage(str(tmp_path / "new" / "stage"))
    assert (tmp_path / "new" / "stage").is_dir()
    (tmp_path / "file").touch()
    for stage, reason in ((tmp_path / "file" / "x", "cannot be made (Not a directory)"), ("s3://b/x", "is an address")):
        with pytest.raises(GlowPipelineError) as refused:
            check_stage(str(stage))
        line = f"train.stage={stage}: {reason}; give a folder on a disk of this machine, or null"
        assert str(refused.value) == line


@pytest.mark.parametrize(
    ("processes", "n_images", "line"),
    [
        (1, 4, "batches of 4 images cannot be taken in 5 parts"),
        (2, None, "batches of 9 images cannot be shared by 2 processes in 5 parts"),
    ],
)
def test_batches_with_empty_parts_are_refused(processes: int, n_images: int | None, line: str) -> None:
    train = TrainParameters(batch_size=9, accumulate=5)
    check_batch_size(train, 1, 5)
    check_batch_size(train, 1)
    with pytest.raises(GlowPipelineError) as refused:
        check_batch_size(train, processes, n_images)
    assert str(refused.value) == (f"train.batch_size=9: {line}; raise it, or lower train.devices or train.accumulate")


def test_processes_of_all_machines_are_counted(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("NODE_RANK", "1")
    train = TrainParameters(batch_size=8, devices=3, nodes=2, rendezvous="first:1")
    check_processes(train.model_copy(update={"batch_size": 6}), CPU)
    with pytest.raises(GlowPipelineError, match="cannot be shared by 6 processes in 1 parts"):
        check_processes(train.model_copy(update={"batch_size": 5}), CPU)
    bare.delenv("NODE_RANK")
    with pytest.raises(GlowPipelineError, match=r"^train\.nodes=2: none of"):
        check_processes(train, CPU)
    bare.setenv("NODE_RANK", "1")
    with pytest.raises(GlowPipelineError, match=r"^train\.rendezvous=null"):
        check_processes(train.model_copy(update={"rendezvous": None}), CPU)


def test_other_number_of_processes_than_counted_is_refused() -> None:
    """On machines with `train.devices=auto` and other numbers of GPUs, batches would have different sizes."""
    counted = TrainParameters(batch_size=64, batch_size_per_device=16)
    check_shared(counted, 4)
    check_shared(TrainParameters(batch_size=64), 5)
    with pytest.raises(GlowPipelineError) as refused:
        check_shared(counted, 6)
    assert str(refused.value) == (
        "train.batch_size_per_device=16: this machine counts 4 processes and 6 train together; set train.devices to "
        "the same number on all machines, or give train.batch_size"
    )


def test_refusal_names_the_size_that_was_given() -> None:
    with pytest.raises(
        GlowPipelineError, match=r"^train\.batch_size_per_device=2: batches of 6 images cannot be shared"
    ):
        check_batch_size(TrainParameters(batch_size=6, batch_size_per_device=2, accumulate=3), 3)


def test_training_is_checked_with_its_images() -> None:
    parameters = Parameters.model_validate({"device": "cpu", "train": {"accumulate": 10, "precision": "tf32"}})
    with pytest.raises(GlowPipelineError, match=r"^train\.precision=tf32"):
        check_training(parameters, 100)
    parameters = Parameters.model_validate({"device": "cpu", "train": {"accumulate": 10}})
    check_training(parameters, 10)
    with pytest.raises(GlowPipelineError, match="batches of 9 images"):
        check_training(parameters, 9)

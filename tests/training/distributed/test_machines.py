import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.training.distributed.machines import machine_rank, meeting_point, n_processes

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


def test_auto_is_a_process_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [n_processes("auto", device) for device in (CPU, CUDA, MPS)] == [1, 4, 1]
    assert [n_processes(3, CPU), n_processes(3, CUDA), n_processes(1, MPS)] == [3, 3, 1]


@pytest.mark.parametrize(
    ("devices", "device", "line"),
    [
        (5, CUDA, "train.devices=5: torch finds 4 GPUs here; lower it, or set it to auto"),
        (2, MPS, "train.devices=2: mps is one device; set it to 1"),
    ],
)
def test_too_many_devices_are_refused(
    monkeypatch: pytest.MonkeyPatch, devices: int, device: torch.device, line: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(GlowPipelineError) as refused:
        n_processes(devices, device)
    assert str(refused.value) == line


def test_rank_comes_from_the_environment(bare: pytest.MonkeyPatch) -> None:
    assert machine_rank(1) == 0
    bare.setenv("SLURM_NODEID", "2")
    assert machine_rank(3) == 2
    bare.setenv("NODE_RANK", "1")
    assert machine_rank(3) == 1


@pytest.mark.parametrize(
    ("rank", "allowed"),
    [("3", "0 to 2, as train.nodes=3"), *((rank, "a number from 0 on") for rank in ("-1", "a", ""))],
)
def test_invalid_rank_is_refused(bare: pytest.MonkeyPatch, rank: str, allowed: str) -> None:
    bare.setenv("NODE_RANK", rank)
    with pytest.raises(GlowPipelineError) as refused:
        machine_rank(3)
    assert str(refused.value) == f"NODE_RANK={rank}: should be {allowed}"


def test_missing_rank_is_refused(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(GlowPipelineError) as refused:
        machine_rank(2)
    assert str(refused.value) == (
        "train.nodes=2: none of NODE_RANK, GROUP_RANK, SKYPILOT_NODE_RANK, PET_NODE_RANK, SLURM_NODEID, "
        "JOB_COMPLETION_INDEX says which of them this is; set NODE_RANK=0 on the first, 1 on the next"
    )


def test_meeting_point_comes_from_parameter_or_environment(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(GlowPipelineError, match=r"^train\.rendezvous=null: several machines need a place to meet; "):
        meeting_point(None)
    bare.setenv("MASTER_ADDR", "first")
    bare.setenv("MASTER_PORT", "1234")
    assert meeting_point(None) == "first:1234"
    assert meeting_point("other:1") == "other:1"

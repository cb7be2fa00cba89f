"""Workers that `launch` starts in tests, in a module of their own, because each process imports it."""

import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from glow_pipeline.errors import GlowPipelineError, TrainingStopped
from glow_pipeline.signals import interruption
from glow_pipeline.training.distributed.launch import launch, leads_here
from glow_pipeline.training.distributed.process_group import DistributedGroup

FOR_EVER = 1000  # seconds


def _start(folder: Path, restarted: bool) -> DistributedGroup:
    """Join the group, whose processes have all written down who they are."""
    rank = int(os.environ["RANK"])
    with (folder / f"starts_{rank}").open("a") as file:
        file.write(f"{os.getpid()} {restarted} {torch.get_num_threads()}\n")
    group = DistributedGroup(leads=leads_here(True))
    assert group.leads == (rank == 0)
    group.any(False)
    return group


def killed_then_failing(restarted: bool, folder: Path) -> None:
    group = _start(folder, restarted)
    if group.shard.rank == 1 and not restarted:
        (folder / "looked").touch()
        _wait_for(folder / "seen")
        os.kill(os.getpid(), signal.SIGKILL)
    if group.shard.rank == 1:
        raise ValueError("no such luck\nand a second line")
    group.any(False)


def mistaken(restarted: bool, folder: Path) -> None:
    group = _start(folder, restarted)
    if group.shard.rank == 1:
        raise GlowPipelineError("train.some=1: should be 2")
    group.any(False)


def too_large(restarted: bool, folder: Path) -> None:
    group = _start(folder, restarted)
    if group.shard.rank == 1:
        raise torch.OutOfMemoryError("CUDA out of memory\nand a page of advice")
    group.any(False)


def stopping(restarted: bool, folder: Path) -> None:
    with interruption(patient=True) as interrupted:
        group = _start(folder, restarted)
        while not group.any(bool(interrupted)):
            time.sleep(0.01)
        time.sleep(1)  # a checkpoint, say
        (folder / f"stopped_{group.shard.rank}").touch()
        raise TrainingStopped(5, interrupted.exit_code)


def waiting(restarted: bool, folder: Path) -> None:
    group = _start(folder, restarted)
    if group.shard.rank == 1:
        time.sleep(FOR_EVER)
    dist.all_reduce(torch.zeros(1))


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def _here(restarted: bool, folder: Path) -> DistributedGroup:
    """Join the group with another machine, after writing down that this one has started."""
    with (folder / f"machine_{os.environ['NODE_RANK']}").open("a") as file:
        file.write(f"{restarted} ")
    group = DistributedGroup(leads=leads_here(os.environ["NODE_RANK"] == "0"))
    group.any(False)
    return group


def killed_on_the_second_machine(restarted: bool, folder: Path) -> None:
    group = _here(restarted, folder)
    if os.environ["NODE_RANK"] == "1" and not restarted:
        os.kill(os.getpid(), signal.SIGKILL)
    group.any(False)


def mistaken_on_the_first_machine(restarted: bool, folder: Path) -> None:
    group = _here(restarted, folder)
    if group.leads:
        raise GlowPipelineError("train.some=1: should be 2")
    group.any(False)


if __name__ == "__main__":
    worker, written, port = sys.argv[1:]
    launch(
        globals()[worker],
        (Path(written),),
        per_machine=2 if port == "0" else 1,
        machines=1 if port == "0" else 2,
        rendezvous=f"127.0.0.1:{port}",
        max_restarts=3,
    )

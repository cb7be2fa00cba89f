"""Several processes that train together, forked from the test's own: without seconds of imports."""

import os
import pickle
import signal
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch.distributed as dist

from glow_pipeline.training.distributed.process_group import DistributedGroup

T = TypeVar("T")
PATIENCE = 240  # seconds


def together(n: int, work: Callable[[DistributedGroup], T], leader: int = 0) -> list[T]:
    """Return the results of `work` in each of n processes; `leader` is the rank of the one that leads."""
    with tempfile.TemporaryDirectory() as folder:
        pids = [_forked(Path(folder), rank, n, work, leader) for rank in range(n)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        assert codes == [0] * n
        return [pickle.loads((Path(folder) / f"result_{rank}").read_bytes()) for rank in range(n)]


def _forked(folder: Path, rank: int, n: int, work: Callable[[DistributedGroup], T], leader: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(PATIENCE)  # a process that waits for ever is ended
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        dist.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=n)
        result = work(DistributedGroup(leads=rank == leader))
        (folder / f"result_{rank}").write_bytes(pickle.dumps(result))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)

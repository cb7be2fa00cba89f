"""The shards of a batch, and the communication of processes."""

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from glow_pipeline.shard import Shard
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.distributed.process_group import (
    DistributedGroup,
    ProcessGroup,
    ProcessMissingError,
    SingleProcess,
)
from tests.training.helpers import checkpoint_record
from tests.training.several_processes import together

DTYPES = (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint8,
)
RECORD = checkpoint_record(7, identity={"name": "süß", "nothing": None})


@given(n=st.integers(0, 500), world_size=st.integers(1, 50))
def test_shards_are_in_order_complete_and_alike(n: int, world_size: int) -> None:
    parts = [list(range(n))[Shard(rank, world_size).rows(n)] for rank in range(world_size)]
    assert [row for part in parts for row in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_single_process_is_all_of_them() -> None:
    alone, rows = SingleProcess(), torch.arange(3.0)
    assert list(range(5))[alone.shard.rows(5)] == list(range(5))
    assert alone.leads
    alone.sum_(rows)
    assert alone.gather(rows).tolist() == [0, 1, 2]
    assert [alone.any(flag) for flag in (True, False)] == [True, False]
    assert alone.from_leader(None) is None


def checkpoint() -> Checkpoint:
    """One tensor of each kind that a training may hold."""
    tensors = {str(dtype): torch.arange(-3, 9).to(dtype).view(3, 4) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(2.5), "bool": torch.tensor([True, False, True]), "empty": torch.empty(0, 3)}
    return Checkpoint({**tensors, "strided": torch.arange(12.0).view(3, 4).t()}, RECORD)


def equal(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)


@pytest.mark.parametrize(("n", "leader"), [(2, 0), (3, 2)])
def test_processes_communicate(n: int, leader: int) -> None:
    """All in one, because each start of the processes takes its time."""

    def work(group: DistributedGroup) -> dict[str, object]:
        rank = group.shard.rank
        summed = torch.full((2,), float(rank))
        group.sum_(summed)
        ours = torch.arange(float(rank * 10), float(rank * 10 + rank))[:, None]  # as many rows as the rank says
        mine, theirs = checkpoint(), group.from_leader(checkpoint() if group.leads else None)
        assert theirs is not None
        same_types = all(equal(theirs.tensors[name], tensor) for name, tensor in mine.tensors.items())
        return {
            "shard": group.shard,
            "leads": group.leads,
            "sum": summed.tolist(),
            "any": [group.any(rank == n - 1), group.any(False), group.any(True)],
            "gathered": group.gather(ours)[:, 0].tolist(),
            "all empty": group.gather(torch.empty(0, 2, dtype=torch.float64)),
            "same": same_types and theirs.tensors.keys() == mine.tensors.keys() and theirs.record == RECORD,
            "none": group.from_leader(None),
            # The checkpoint of another process does not count.
            "the leader's": group.from_leader(Checkpoint({"rank": torch.tensor(rank)}, checkpoint_record(rank))),
        }

    results = together(n, work, leader)
    for rank, each in enumerate(results):
        assert each["shard"] == Shard(rank, n)
        assert each["leads"] == (rank == leader)
        assert each["sum"] == [n * (n - 1) / 2] * 2
        assert each["any"] == [True, False, True]
        assert each["gathered"] == [10.0 * r + k for r in range(n) for k in range(r)]
        empty = each["all empty"]
        assert isinstance(empty, Tensor)
        assert equal(empty, torch.empty(0, 2, dtype=torch.float64))
        assert each["same"]
        assert each["none"] is None
        started = each["the leader's"]
        assert isinstance(started, Checkpoint)
        assert started.step == leader
        assert int(started.tensors["rank"]) == leader


def test_missing_process_is_noticed_at_once() -> None:
    def work(group: ProcessGroup) -> str:
        if group.shard.rank == 1:
            return "left"
        before = time.monotonic()
        try:
            group.any(False)
        except ProcessMissingError:
            return "missed" if time.monotonic() - before < 60 else "waited"
        return "not missed"

    assert together(2, work) == ["missed", "left"]

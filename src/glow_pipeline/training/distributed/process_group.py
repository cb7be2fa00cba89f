"""The processes that train one flow together, and how they communicate.

Each process works on its shard of every batch. The sum of their gradients is the gradient of the batch, because each
weighs its shard; so all of them make the same step, and hold the same state.

DistributedDataParallel does the same. It is not used, because here all gradients are one vector already: one
`all_reduce` a step suffices, however the gradients are computed (reversible, checkpointed, in parts, compiled), and a
gradient that is not finite in one process is so in all.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from glow_pipeline.shard import Shard
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.records import CheckpointRecord


class ProcessMissingError(RuntimeError):
    """Another process of the group has left, so that a common operation fails."""


class ProcessGroup(Protocol):
    """The operations of a training that involve all its processes; all of them call each one at the same point.

    Attributes:
        shard: this process's part of each batch.
        leads: whether this process writes files, logs metrics and shows progress.
    """

    shard: Shard
    leads: bool

    def sum_(self, tensor: Tensor) -> None:
        """Sum a tensor over all processes, in place."""

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process, without waiting for a device."""

    def gather(self, rows: Tensor) -> Tensor:
        """Concatenate the rows (n, ...) of all processes, in their order, on the CPU; n may differ."""

    def from_leader(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """Return the leader's checkpoint."""


class SingleProcess:
    """A process that trains alone."""

    shard = Shard()
    leads = True

    def sum_(self, tensor: Tensor) -> None:
        pass

    def any(self, flag: bool) -> bool:
        return flag

    def gather(self, rows: Tensor) -> Tensor:
        return rows.cpu()

    def from_leader(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        return checkpoint


class DistributedGroup:
    """The processes of torch's default process group, which needs a backend for CPU tensors.

    Args:
        leads: whether this process is the leader; true in exactly one.
    """

    def __init__(self, *, leads: bool) -> None:
        self.shard = Shard(dist.get_rank(), dist.get_world_size())
        self.leads = leads
        flags = torch.zeros(self.shard.world_size, dtype=torch.int64)
        flags[self.shard.rank] = int(leads)
        self.sum_(flags)
        self._leader = int(flags.argmax())

    def sum_(self, tensor: Tensor) -> None:
        with _missing_processes_reported():
            dist.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        count = torch.tensor(int(flag))
        self.sum_(count)
        return bool(count)

    def gather(self, rows: Tensor) -> Tensor:
        rows = rows.cpu()
        sizes = torch.zeros(self.shard.world_size, dtype=torch.int64)
        sizes[self.shard.rank] = len(rows)
        self.sum_(sizes)
        padded = rows.new_zeros(int(sizes.max()), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.shard.world_size)]
        with _missing_processes_reported():
            dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, sizes.tolist(), strict=True)])

    def from_leader(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        described = self._json_from_leader(None if checkpoint is None else _description(checkpoint))
        if described is None:
            return None
        tensors = {}
        for name, (shape, dtype) in described["tensors"].items():
            if self.leads and checkpoint is not None:
                tensors[name] = checkpoint.tensors[name].detach().cpu().contiguous()
            else:
                tensors[name] = torch.empty(shape, dtype=getattr(torch, dtype))
            if tensors[name].numel() > 0:
                self._broadcast(tensors[name].view(-1).view(torch.uint8))  # not every type can be sent as it is
        record = CheckpointRecord.model_validate_json(described["record"])
        return Checkpoint(tensors, record, None if checkpoint is None else checkpoint.path)

    def _json_from_leader(self, value: Any) -> Any:
        """Return the leader's value. JSON, because torch's own exchange of objects pickles them."""
        content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        size = torch.tensor(len(content))
        self._broadcast(size)
        content = content if self.leads else torch.empty(int(size), dtype=torch.uint8)
        self._broadcast(content)
        return json.loads(content.numpy().tobytes())

    def _broadcast(self, tensor: Tensor) -> None:
        with _missing_processes_reported():
            dist.broadcast(tensor, self._leader)


@contextmanager
def _missing_processes_reported() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessMissingError(str(error)) from error


def _description(checkpoint: Checkpoint) -> dict[str, object]:
    tensors = {name: (list(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in checkpoint.tensors.items()}
    return {"record": checkpoint.record.model_dump_json(), "tensors": tensors}

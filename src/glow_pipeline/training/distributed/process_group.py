"""The processes that train one flow together, and what they tell each other.

Each process works on its share of every batch. The sum of their gradients is the gradient of the whole batch, because
each weighs its share; so all of them make the same step, and hold the same state.

That is what DistributedDataParallel does. It is not used, because here all gradients are one vector already: one
`all_reduce` a step is all that is left to do, however the gradients came about (reversible, checkpointed, in parts,
compiled), and a gradient that is not finite in one process is so in all.
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


class ProcessMissingError(RuntimeError):
    """Another process of the group has left, and what was to be done together cannot be."""


class ProcessGroup(Protocol):
    """What a training asks of its processes; every call is made by all of them at the same point."""

    share: Shard
    leads: bool  # whether this one writes files, logs metrics and shows progress

    def sum_(self, tensor: Tensor) -> None:
        """In place, over all processes."""

    def any(self, said: bool) -> bool:
        """Whether any of them says so. Waits for no device."""

    def gather(self, rows: Tensor) -> Tensor:
        """(n, ...) in each, n may differ -> all of them in the processes' order, on the CPU."""

    def from_leader(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """What the leader has."""


class SingleProcess:
    """One process."""

    share = Shard()
    leads = True

    def sum_(self, tensor: Tensor) -> None:
        pass

    def any(self, said: bool) -> bool:
        return said

    def gather(self, rows: Tensor) -> Tensor:
        return rows.cpu()

    def from_leader(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        return checkpoint


class DistributedGroup:
    """The processes of torch's default process group, which has to have a backend for CPU tensors.

    Args:
        leads: true in one of them.
    """

    def __init__(self, *, leads: bool) -> None:
        self.share = Shard(dist.get_rank(), dist.get_world_size())
        self.leads = leads
        said = torch.zeros(self.share.of, dtype=torch.int64)
        said[self.share.rank] = int(leads)
        self.sum_(said)
        self._leader = int(said.argmax())

    def sum_(self, tensor: Tensor) -> None:
        with _all_there():
            dist.all_reduce(tensor)

    def any(self, said: bool) -> bool:
        flag = torch.tensor(int(said))
        self.sum_(flag)
        return bool(flag)

    def gather(self, rows: Tensor) -> Tensor:
        rows = rows.cpu()
        sizes = torch.zeros(self.share.of, dtype=torch.int64)
        sizes[self.share.rank] = len(rows)
        self.sum_(sizes)
        padded = rows.new_zeros(int(sizes.max()), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.share.of)]
        with _all_there():
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
        return Checkpoint(tensors, described["facts"], None if checkpoint is None else checkpoint.path)

    def _json_from_leader(self, told: Any) -> Any:
        """JSON, because torch's own exchange of objects pickles them."""
        content = torch.frombuffer(bytearray(json.dumps(told).encode()), dtype=torch.uint8)
        size = torch.tensor(len(content))
        self._broadcast(size)
        content = content if self.leads else torch.empty(int(size), dtype=torch.uint8)
        self._broadcast(content)
        return json.loads(content.numpy().tobytes())

    def _broadcast(self, tensor: Tensor) -> None:
        with _all_there():
            dist.broadcast(tensor, self._leader)


@contextmanager
def _all_there() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessMissingError(str(error)) from error


def _description(checkpoint: Checkpoint) -> dict[str, object]:
    tensors = {name: (list(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in checkpoint.tensors.items()}
    return {"facts": checkpoint.facts, "tensors": tensors}

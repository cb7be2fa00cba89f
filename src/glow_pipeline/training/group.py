"""The processes that train one flow together, and what they tell each other.

Each process works on its share of every batch. The sum of their gradients is the gradient of the whole batch, because
each weighs its share; so all of them make the same step, and hold the same state.

That is what DistributedDataParallel does. It is not used, because here all gradients are one vector already: one
`all_reduce` a step is all that is left to do, however the gradients came about (reversible, checkpointed, in parts,
compiled), and a gradient that is not finite in one process is so in all.
"""

import json
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from glow_pipeline.share import Share
from glow_pipeline.training.checkpoints import Checkpoint


class Group(Protocol):
    """What a training asks of its processes; every call is made by all of them at the same point."""

    share: Share
    leads: bool  # whether this one writes files, logs metrics and shows progress

    def sum_(self, tensor: Tensor) -> None:
        """In place, over all processes."""

    def any(self, said: bool) -> bool:
        """Whether any of them says so. Waits for no device."""

    def gather(self, rows: Tensor) -> Tensor:
        """(n, ...) in each, n may differ -> all of them in the processes' order, on the CPU."""

    def from_leader(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """What the leader has."""


class Alone:
    """One process."""

    share = Share()
    leads = True

    def sum_(self, tensor: Tensor) -> None:
        pass

    def any(self, said: bool) -> bool:
        return said

    def gather(self, rows: Tensor) -> Tensor:
        return rows.cpu()

    def from_leader(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        return checkpoint


class Together:
    """The processes of torch's default process group, which has to have a backend for CPU tensors.

    Args:
        leads: true in one of them.
    """

    def __init__(self, *, leads: bool) -> None:
        self.share = Share(dist.get_rank(), dist.get_world_size())
        self.leads = leads
        said = torch.zeros(self.share.of, dtype=torch.int64)
        said[self.share.rank] = int(leads)
        dist.all_reduce(said)
        self._leader = int(said.argmax())

    def sum_(self, tensor: Tensor) -> None:
        dist.all_reduce(tensor)

    def any(self, said: bool) -> bool:
        flag = torch.tensor(int(said))
        dist.all_reduce(flag)
        return bool(flag)

    def gather(self, rows: Tensor) -> Tensor:
        rows = rows.cpu()
        sizes = torch.zeros(self.share.of, dtype=torch.int64)
        sizes[self.share.rank] = len(rows)
        dist.all_reduce(sizes)
        padded = rows.new_zeros(int(sizes.max()), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.share.of)]
        dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, sizes.tolist(), strict=True)])

    def from_leader(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        described = self._bytes_from_leader(json.dumps(None if checkpoint is None else _description(checkpoint)))
        if described is None:
            return None
        tensors = {}
        for name, (shape, dtype) in described["tensors"].items():
            sent = checkpoint.tensors[name] if checkpoint is not None and self.leads else None
            empty = torch.empty(shape, dtype=getattr(torch, dtype))
            tensors[name] = empty if sent is None else sent.detach().cpu().contiguous()
            dist.broadcast(tensors[name], self._leader)
        return Checkpoint(tensors, described["facts"], None if checkpoint is None else checkpoint.path)

    def _bytes_from_leader(self, text: str) -> Any:
        """JSON, because torch's own exchange of objects pickles them."""
        content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        size = torch.tensor(len(content))
        dist.broadcast(size, self._leader)
        content = content if self.leads else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(content, self._leader)
        return json.loads(bytes(content.tolist()))


def _description(checkpoint: Checkpoint) -> dict[str, object]:
    tensors = {name: (list(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in checkpoint.tensors.items()}
    return {"facts": checkpoint.facts, "tensors": tensors}

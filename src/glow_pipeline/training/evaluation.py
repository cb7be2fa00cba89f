"""Mean bits per dimension of a table under a model."""

from collections.abc import Callable

import torch

from glow_pipeline.density import log_probs
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.transfer import HostCopy
from glow_pipeline.training.distributed.process_group import ProcessGroup, SingleProcess


def mean_bits_per_dim(
    model: Glow, batches: Batches, seed: int, *, labelled: bool = False, group: ProcessGroup | None = None
) -> float:
    """Return the mean bits per dimension over a table, of which each process of a group scores some batches.

    Args:
        model, batches, seed, labelled: as in `log_probs`.
        group: None: this process alone.
    """
    return queued_bits_per_dim(model, batches, seed, labelled=labelled, group=group)()


def queued_bits_per_dim(
    model: Glow, batches: Batches, seed: int, *, labelled: bool = False, group: ProcessGroup | None = None
) -> Callable[[], float]:
    """Queue `mean_bits_per_dim` on the device; return a function that waits for the result and returns it.

    The weights may be changed by what is queued later. All processes of the group call the function.

    Args:
        model, batches, seed, labelled, group: as in `mean_bits_per_dim`.
    """
    group = group or SingleProcess()
    part = batches.part(group.shard.rows(len(batches)))
    description = "score" if group.leads else None
    scored = log_probs(model, part, seed, labelled=labelled, description=description)
    copies = HostCopy(torch.cat([torch.empty(0, device=batches.device), *scored]))

    def bits_per_dim() -> float:
        (log_prob,) = copies.get()
        return model.bits_per_dim(group.gather(log_prob).double()).mean().item()

    return bits_per_dim

"""Mean bits per dimension of a table under a model."""

import numpy as np
import torch

from glow_pipeline.density import log_probs
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.training.distributed.process_group import ProcessGroup, SingleProcess


def mean_bits_per_dim(
    model: Glow, batches: Batches, seed: int, *, labelled: bool = False, group: ProcessGroup | None = None
) -> float:
    """Return the mean bits per dimension over a table, of which each process of a group scores some batches.

    Args:
        model, batches, seed, labelled: as in `log_probs`.
        group: None: this process alone.
    """
    group = group or SingleProcess()
    n_batches = group.shard.rows(len(batches))
    rows = slice(n_batches.start * batches.batch_size, n_batches.stop * batches.batch_size)
    part = Batches(batches.table.subset(np.arange(batches.n_images)[rows]), batches.batch_size, batches.device)
    description = "score" if group.leads else None
    scored = log_probs(model, part, seed, labelled=labelled, description=description)
    log_prob = group.gather(torch.cat([torch.empty(0, device=batches.device), *scored]))
    return model.bits_per_dim(log_prob.double()).mean().item()

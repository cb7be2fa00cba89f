"""Negative log-likelihood: what the model finds improbable does not belong.

score(x) = -log p(x), here in bits per dimension (Bishop 1994, "Novelty detection and neural network
validation"). It fails in a known way: images simpler than the training images often get a higher
likelihood than those themselves (Nalisnick et al. 2019, arXiv:1810.09136).
"""

import torch
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.training.evaluation import log_probs


def nll(model: Glow, batches: Batches, seed: int) -> Tensor:
    """Bits per dimension of each image, float64 (n,), in the table's order; higher belongs less.

    Infinite for an image so far out that the flow overflows.

    A class-conditioned model is asked for log p(x), not for log p(x | y): nobody knows an outlier's class.
    """
    name = batches.table.record.name
    log_prob = torch.cat(list(log_probs(model, batches, seed, description=f"score {name}")))
    return model.bits_per_dim(log_prob.double()).nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)

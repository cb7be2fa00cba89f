"""Bits per dimension and log-probabilities of a table under a model."""

from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.flow import Glow
from glow_pipeline.images.loader import Batches
from glow_pipeline.randomness import generator


@torch.no_grad()
def log_probs(
    model: Glow, batches: Batches, seed: int, *, labelled: bool = False, description: str = "score"
) -> Iterator[Tensor]:
    """log-probability of each image in nats, float32 (B,) on the CPU, batch by batch in the table's order.

    The dequantization noise is drawn from (seed, position in the table) alone: the same table gives
    the same numbers, today and tomorrow.

    Args:
        labelled: give a class-conditioned model the labels: log p(image | label) instead of log p(image).
    """
    training = model.training
    model.eval()
    first = 0
    for images, labels in tqdm(batches, desc=description, unit="batch", delay=2, leave=False):
        noise_generator = generator(seed, "score", first, images.device)
        noise = torch.rand(images.shape, generator=noise_generator, device=images.device)
        yield model.log_prob(images, noise, labels if labelled else None).cpu()
        first += len(images)
    model.train(training)


def mean_bits_per_dim(model: Glow, batches: Batches, seed: int, *, labelled: bool = False) -> float:
    """Mean bits per dimension over a table."""
    log_prob = torch.cat(list(log_probs(model, batches, seed, labelled=labelled)))
    return model.bits_per_dim(log_prob.double()).mean().item()

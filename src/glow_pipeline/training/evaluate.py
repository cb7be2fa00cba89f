"""Bits per dimension and log-probabilities of a table under a model."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.flow import Glow
from glow_pipeline.images.loader import Batches
from glow_pipeline.randomness import generator
from glow_pipeline.training.group import Alone, Group

NOISE_BLOCK = 64


@torch.no_grad()
def log_probs(
    model: Glow,
    batches: Batches,
    seed: int,
    *,
    labelled: bool = False,
    description: str | None = "score",
    first: int = 0,
) -> Iterator[Tensor]:
    """log-probability of each image in nats, float32 (B,) on the CPU, batch by batch in the table's order.

    An image's dequantization noise depends on the seed and its position in the table alone, whatever the
    batches are: the same table gives the same scores, today and tomorrow.

    Args:
        model: is set to evaluation mode and afterwards back.
        batches: of one table, in its order.
        seed: of the noise.
        labelled: give a class-conditioned model the labels: log p(image | label) instead of log p(image). An image of
            a class that the model does not know is scored without it.
        description: beside the progress bar; None: without one.
        first: the position of the first image, where the batches are of a part of the table.
    """
    training = model.training
    model.eval()
    try:
        with model.unchanging():
            for images, labels in tqdm(
                batches, desc=description, unit="batch", delay=2, leave=False, disable=description is None
            ):
                noise = _noise(images, seed, first)
                yield (_given_class(model, images, noise, labels) if labelled else model.log_prob(images, noise)).cpu()
                first += len(images)
    finally:
        model.train(training)


def _noise(images: Tensor, seed: int, first: int) -> Tensor:
    """Uniform noise for the rows from `first` on, cut from blocks that are drawn whole, each by its own generator."""
    blocks = range(first // NOISE_BLOCK, (first + len(images) - 1) // NOISE_BLOCK + 1)
    drawn = [
        torch.rand(
            NOISE_BLOCK,
            *images.shape[1:],
            generator=generator(seed, "score", block, images.device),
            device=images.device,
        )
        for block in blocks
    ]
    offset = first - blocks[0] * NOISE_BLOCK
    return torch.cat(drawn)[offset : offset + len(images)]


def _given_class(model: Glow, images: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
    """log p(image | label), or log p(image) where the label is of no class of the model."""
    known = labels < model.num_classes
    if not model.y_condition or bool(known.all()):
        return model.log_prob(images, noise, labels)
    log_prob = model.log_prob(images, noise)
    if bool(known.any()):
        log_prob[known] = model.log_prob(images[known], noise[known], labels[known])
    return log_prob


def mean_bits_per_dim(
    model: Glow, batches: Batches, seed: int, *, labelled: bool = False, group: Group | None = None
) -> float:
    """Mean bits per dimension over a table, of which each process of a group scores some batches."""
    group = group or Alone()
    n_batches = group.share.rows(len(batches))
    rows = slice(n_batches.start * batches.batch_size, n_batches.stop * batches.batch_size)
    part = Batches(batches.table.subset(np.arange(batches.n_images)[rows]), batches.batch_size, batches.device)
    description = "score" if group.leads else None
    scored = log_probs(model, part, seed, labelled=labelled, first=rows.start, description=description)
    return model.bits_per_dim(group.gather(torch.cat([torch.empty(0), *scored])).double()).mean().item()

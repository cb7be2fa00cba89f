"""Bits per dimension and log-probabilities of a table under a model."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content import content_noise
from glow_pipeline.randomness import key
from glow_pipeline.threads import chosen_threads
from glow_pipeline.training.distributed.process_group import ProcessGroup, SingleProcess


@torch.no_grad()
def log_probs(
    model: Glow,
    batches: Batches,
    seed: int,
    *,
    labelled: bool = False,
    description: str | None = "score",
) -> Iterator[Tensor]:
    """log-probability of each image in nats, float32 (B,) on the CPU, batch by batch in the table's order.

    An image's dequantization noise depends on the seed and the image's pixels alone: neither the order of a table, nor
    its other images, nor the names of the files change a score, and exact copies have one score.

    Args:
        model: is set to evaluation mode and afterwards back.
        batches: of one table, in its order.
        seed: of the noise.
        labelled: give a class-conditioned model the labels: log p(image | label) instead of log p(image). An image of
            a class that the model does not know is scored without it.
        description: beside the progress bar; None: without one.
    """
    training, noise_key = model.training, key(seed, "score")
    model.eval()
    try:
        with model.unchanging():
            for images, labels in tqdm(
                batches, desc=description, unit="batch", delay=2, leave=False, disable=description is None
            ):
                noise = content_noise(images, noise_key)
                yield (_given_class(model, images, noise, labels) if labelled else model.log_prob(images, noise)).cpu()
    finally:
        model.train(training)


def _given_class(model: Glow, images: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
    """Return log p(image | label), or log p(image) where the label is of no class of the model."""
    known = labels < model.num_classes
    if not model.y_condition or bool(known.all()):
        return model.log_prob(images, noise, labels)
    log_prob = model.log_prob(images, noise)
    if bool(known.any()):
        log_prob[known] = model.log_prob(images[known], noise[known], labels[known])
    return log_prob


def scoring_threads(model: Glow, batches: Batches, fixed: int | None = None) -> AbstractContextManager[None]:
    """Have a CPU score these batches within the block with the number of threads that a short measurement finds best.

    Args:
        model: the model.
        batches: their first one is measured.
        fixed: the number, if it is not to be chosen.
    """

    @cache
    def first() -> Tensor:
        return next(iter(batches)).images

    @torch.no_grad()
    def work(n: int) -> None:
        images = first()[:n]
        model.log_prob(images, torch.rand(images.shape, generator=torch.Generator().manual_seed(0)))

    _, height, width = model.image_shape
    return chosen_threads(
        batches.device,
        work,
        pixels=height * width,
        batch=min(batches.batch_size, batches.n_images),
        total=batches.n_images,
        fixed=fixed,
    )


def mean_bits_per_dim(
    model: Glow, batches: Batches, seed: int, *, labelled: bool = False, group: ProcessGroup | None = None
) -> float:
    """Mean bits per dimension over a table, of which each process of a group scores some batches."""
    group = group or SingleProcess()
    n_batches = group.share.rows(len(batches))
    rows = slice(n_batches.start * batches.batch_size, n_batches.stop * batches.batch_size)
    part = Batches(batches.table.subset(np.arange(batches.n_images)[rows]), batches.batch_size, batches.device)
    description = "score" if group.leads else None
    scored = log_probs(model, part, seed, labelled=labelled, description=description)
    return model.bits_per_dim(group.gather(torch.cat([torch.empty(0), *scored])).double()).mean().item()

"""What training steps are given: batches in the order, with the flips and the noise that seed and step decide."""

from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.images.augmentation import mirror_half
from glow_pipeline.images.batches import Batch, Batches
from glow_pipeline.randomness import generator
from glow_pipeline.shard import Shard


def first_batch(train: Batches, seed: int) -> Batch:
    """The first one that training will see."""
    return next(train.shuffled(generator(seed, "shuffle", 1)))


def initialize(model: Glow, train: Batches, seed: int) -> None:
    """The data-dependent initialisation, from the whole first batch that training will see."""
    images = first_batch(Batches(train.table, train.batch_size, train.device), seed).images
    model.initialize(model.dequantization.dequantize(images, generator(seed, "initialize", 0, images.device))[0])


def inputs_of(
    model: Glow,
    batch: Batch,
    seed: int,
    number: int,
    *,
    flip: bool = False,
    batch_size: int | None = None,
    share: Shard | None = None,
) -> tuple[Tensor, ...]:
    """What step `number` is given of a batch: dequantized images with their logdet, and classes if it needs them.

    What is drawn for an image depends on its place in the whole batch, so that any number of processes draw alike.

    Args:
        batch: this process's share of a batch.
        batch_size: images of the whole batch.
        share: which of them are in `batch`.
    """
    images, labels = batch
    batch_size = batch_size or len(images)
    rows = (share or Shard()).rows(batch_size)
    if flip:
        images = mirror_half(images, generator(seed, "flip", number, images.device), batch_size, rows)
    noise = generator(seed, "dequantize", number, images.device)
    inputs = model.dequantization.dequantize(images, noise, batch_size, rows)
    return (*inputs, labels) if model.y_condition else inputs

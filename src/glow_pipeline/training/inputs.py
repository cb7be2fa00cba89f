"""The inputs of training steps: batches in the order, with the changes and the noise that seed and step decide."""

from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.images.augmentation import mirror_half, mutate
from glow_pipeline.images.batches import Batch
from glow_pipeline.randomness import generator
from glow_pipeline.shard import Shard


def initialize(model: Glow, first_batch: Batch, seed: int) -> None:
    """Initialize the flow by the complete first batch of the training."""
    images = first_batch.images
    model.initialize(model.dequantization.dequantize(images, generator(seed, "initialize", 0, images.device))[0])


def inputs_of(
    model: Glow,
    batch: Batch,
    seed: int,
    number: int,
    *,
    flip: bool = False,
    mutation: float = 0.0,
    batch_size: int | None = None,
    shard: Shard | None = None,
) -> tuple[Tensor, ...]:
    """Return the inputs of a step: dequantized images (B, C, H, W), their logdet (B,), and classes (B,) if needed.

    The random draws for an image depend on its place in the complete batch, so that any number of processes draw alike.

    Args:
        model: the flow that is trained.
        batch: this process's shard of a batch.
        seed: seed of all random draws.
        number: number of the step, counted from 0.
        flip: mirror images at random.
        mutation: share of values that are replaced at random.
        batch_size: number of images of the complete batch.
        shard: this process's part of the complete batch.
    """
    images, labels = batch
    batch_size = batch_size or len(images)
    rows = (shard or Shard()).rows(batch_size)
    if flip:
        images = mirror_half(images, generator(seed, "flip", number, images.device), batch_size, rows)
    if mutation:
        mutations = generator(seed, "mutate", number, images.device)
        images = mutate(images, mutation, model.dequantization.n_levels, mutations, batch_size, rows)
    noise = generator(seed, "dequantize", number, images.device)
    inputs = model.dequantization.dequantize(images, noise, batch_size, rows)
    return (*inputs, labels) if model.y_condition else inputs

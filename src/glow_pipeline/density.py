"""Log-probabilities of a table's images under a flow."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.flow import Glow
from glow_pipeline.flow.float64 import float64_device
from glow_pipeline.flow.glow import LevelTrace, TopLatent
from glow_pipeline.images.batches import Batch, Batches
from glow_pipeline.images.content import content_noise
from glow_pipeline.memory import available_bytes, pass_bytes, size_of
from glow_pipeline.randomness import key
from glow_pipeline.threads import chosen_threads

T = TypeVar("T")

# Images that are scored at once: so many on a CPU, and on any device no more than so many pixels together.
CPU_BATCH, BATCH_PIXELS = 256, 2**22
MEMORY_SHARE = 4  # of the free memory of a GPU, a batch may take one part in so many


@dataclass(frozen=True)
class ModelledBatch:
    """A batch of images, and what a flow computes of them: each quantity once, when it is first used.

    Attributes:
        model: the flow, in evaluation mode.
        images: uint8 (B, C, H, W) below 2**n_bits, on the device of the flow.
        labels: int64 (B,), on the same device; a score has no use for them, since nobody knows an outlier's class.
        noise: dequantization noise in [0, 1), of the shape of the images.
        traces: whether `levels` will be used: `log_prob` then comes from the same pass, with the same bits.
        knows_classes: whether the flow surely has the classes of all labels; False: that is not known.
    """

    model: Glow
    images: Tensor
    labels: Tensor
    noise: Tensor
    traces: bool = False
    knows_classes: bool = False
    _computed: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False, compare=False)
    _of_images: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, compute: "Callable[[ModelledBatch], T]") -> T:
        """Return `compute` of this batch, computed at the first use: scores share what they have in common."""
        if compute not in self._computed:
            self._computed[compute] = compute(self)
        return cast(T, self._computed[compute])

    def once_for_images(self, compute: "Callable[[ModelledBatch], T]") -> T:
        """Return `compute` of this batch, computed once for all draws of the noise: for what does not depend on it."""
        if compute not in self._of_images:
            self._of_images[compute] = compute(self)
        return cast(T, self._of_images[compute])

    @cached_property
    def log_prob(self) -> Tensor:
        """Return log p(x) in nats, float32 (B,), on the device; of a class-conditioned flow that of the mixture."""
        if not self.traces:
            return self.model.log_prob(self.images, self.noise)
        _, dequantization_logdet = self._dequantized
        return self.model.log_density(self._trace[0]) + dequantization_logdet

    @property
    def levels(self) -> list[LevelTrace]:
        """Return what each level contributes to log p(x), finest first."""
        return self._trace[1]

    @cached_property
    def _trace(self) -> tuple[TopLatent, list[LevelTrace]]:
        return self.model.traced(self._dequantized[0])

    @cached_property
    def _dequantized(self) -> tuple[Tensor, Tensor]:
        return self.model.dequantization.forward(self.images, self.noise)

    @cached_property
    def log_prob_given_class(self) -> Tensor:
        """Return log p(x | label), float32 (B,); log p(x) where the flow has no such class, or no classes."""
        if not self.model.y_condition:
            return self.log_prob
        if self.knows_classes:
            return self.model.log_prob(self.images, self.noise, self.labels)
        # On the device, since the host would have to wait for it to see whether a class is unknown.
        x, dequantization_logdet = self._dequantized
        latent = self._trace[0] if self.traces else self.model.to_top(x)
        given_class = self.model.log_density(latent, self.labels.clamp(max=self.model.num_classes - 1))
        known = self.labels < self.model.num_classes
        return torch.where(known, given_class, self.model.log_density(latent)) + dequantization_logdet


@torch.no_grad()
def modelled_batches(
    model: Glow,
    batches: Iterable[Batch],
    seed: int,
    description: str | None,
    *,
    draws: int = 1,
    traces: bool = False,
    knows_classes: bool = False,
) -> Iterator[ModelledBatch]:
    """Yield a table's images batch by batch, ready to be scored without gradients.

    An image's dequantization noise depends on the seed and the image's pixels alone: neither the order of a table, nor
    its other images, nor the names of the files change a score, and exact copies have one score.

    Args:
        model: is set to evaluation mode and afterwards back; its weights must not change meanwhile.
        batches: batches of one table, in its order.
        seed: seed of the noise.
        description: beside the progress bar; None: no bar.
        draws: yield each batch so many times in succession, each time with other noise.
        traces, knows_classes: as `ModelledBatch` has them.
    """
    training = model.training
    noise_keys = [key(seed, "score" if draw == 0 else f"score draw {draw}") for draw in range(draws)]
    model.eval()
    try:
        with model.unchanging():
            for images, labels in tqdm(
                batches, desc=description, unit="batch", delay=2, leave=False, disable=description is None
            ):
                of_images: dict[Callable[..., Any], Any] = {}
                for noise_key in noise_keys:
                    noise = content_noise(images, noise_key)
                    yield ModelledBatch(model, images, labels, noise, traces, knows_classes, _of_images=of_images)
    finally:
        model.train(training)


@torch.no_grad()
def log_probs(
    model: Glow, batches: Batches, seed: int, *, labelled: bool = False, description: str | None = "score"
) -> Iterator[Tensor]:
    """Yield the log-probability of each image in nats, float32 (B,), batch by batch in the table's order.

    They stay on the device: to copy each batch's would make the host wait for it before it could start the next.

    Args:
        model, batches, seed, description: as `modelled_batches` takes them.
        labelled: give a class-conditioned model the labels: log p(image | label) instead of log p(image). An image of
            a class that the model does not know is scored without it.
    """
    knows_classes = labelled and bool((batches.table.labels < model.num_classes).all())  # on the host
    for batch in modelled_batches(model, batches, seed, description, knows_classes=knows_classes):
        yield batch.log_prob_given_class if labelled else batch.log_prob


def scoring_batch(model: Glow, chosen: int | None = None) -> int:
    """Return how many images to score at once.

    On a CPU they are so few that a training needs less memory to evaluate its model than for a step. A GPU needs many
    to be busy: of 32x32 pixels it takes 4,096, unless they would take more than a quarter of its free memory.

    Args:
        model: the flow, on the device where it scores.
        chosen: the number, if it is not to be chosen.
    """
    if chosen is not None:
        return chosen
    device = next(model.parameters()).device
    _, height, width = model.image_shape
    most = BATCH_PIXELS // (height * width)
    if device.type == "cpu":
        most = min(CPU_BATCH, most)
    elif (available := available_bytes(device)) is not None:
        most = min(most, available // (MEMORY_SHARE * pass_bytes(size_of(model), images=1)))
    return max(1, most)


def exact(values: Tensor) -> Tensor:
    """Return float64, on the device of the values if it has float64."""
    return values.to(float64_device(values.device)).double()


def pass_threads(model: Glow, batch_size: int, total: int, fixed: int | None = None) -> AbstractContextManager[None]:
    """Have a CPU compute log-probabilities inside the block with the number of threads that a measurement finds best.

    Args:
        model: the flow; random images are measured.
        batch_size: images at once.
        total: number of images.
        fixed: the number, if it is not to be chosen.
    """

    @torch.no_grad()
    def work(n: int) -> None:
        random = torch.Generator().manual_seed(0)
        shape = (n, *model.image_shape)
        images = torch.randint(0, model.dequantization.n_levels, shape, generator=random).to(torch.uint8)
        model.log_prob(images, torch.rand(shape, generator=random))

    device, (_, height, width) = next(model.parameters()).device, model.image_shape
    batch = min(batch_size, total)
    return chosen_threads(device, work, pixels=height * width, batch=batch, total=total, fixed=fixed)


def scoring_threads(model: Glow, batches: Batches, fixed: int | None = None) -> AbstractContextManager[None]:
    """Have a CPU score these batches inside the block with the number of threads that a short measurement finds best.

    Args:
        model: the flow.
        batches: the first one is measured.
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

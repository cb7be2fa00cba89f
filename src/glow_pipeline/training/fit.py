"""The training loop."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm
from tqdm import tqdm

from glow_pipeline.flow import Glow
from glow_pipeline.images.augmentation import mirror_half
from glow_pipeline.images.loader import Batch, Batches
from glow_pipeline.randomness import generator
from glow_pipeline.training.evaluate import mean_bits_per_dim
from glow_pipeline.training.schedule import warmup_schedule

Weights = Mapping[str, Tensor]


class Settings(Protocol):
    """What `fit` has to be told; `parameters.TrainParameters` says what each means and allows."""

    @property
    def n_epochs(self) -> int: ...
    @property
    def lr(self) -> float: ...
    @property
    def warmup(self) -> float: ...
    @property
    def decay(self) -> float: ...
    @property
    def max_grad_clip(self) -> float: ...
    @property
    def max_grad_norm(self) -> float: ...
    @property
    def flip(self) -> bool: ...
    @property
    def sample_and_save_freq(self) -> int: ...
    @property
    def max_skipped_steps(self) -> int: ...


@dataclass
class History:
    """What happened.

    Attributes:
        epochs: a row of metrics for each finished epoch.
        best_epoch: the epoch with the lowest bits/dim on validation images; 0 before the first.
        steps: optimiser steps, the skipped ones included.
        skipped_steps: steps whose loss or gradient was not finite and that changed nothing.
        diverged: whether too many of those in a row ended the training.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_val_bits_per_dim: float = math.inf
    steps: int = 0
    skipped_steps: int = 0
    diverged: bool = False


def fit(
    model: Glow,
    train: Batches,
    val: Batches,
    settings: Settings,
    *,
    seed: int,
    y_weight: float = 0.0,
    on_epoch: Callable[[dict[str, float], int], None],
    on_save: Callable[[Weights, History], None],
) -> History:
    """Fit `model` in place to the images of `train`, and leave the weights of its best epoch in it.

    Args:
        train: training batches, shuffled anew each epoch.
        val: images that each epoch is judged by, always with the same dequantization noise.
        y_weight: weight of the class head's cross-entropy, for a class-conditioned model.
        on_epoch: takes each epoch's metrics and the step at its end.
        on_save: takes the best weights and the history so far; called each
            `sample_and_save_freq` epochs and after the last epoch.

    Returns:
        The history. When it says `diverged`, the weights are the last good ones.
    """
    if not model.initialized:
        _initialize(model, train, seed)
    optimizer = torch.optim.Adamax(
        model.parameters(),
        lr=settings.lr,
        weight_decay=settings.decay,
        foreach=True,  # all parameters at once: there are hundreds, and most are small
    )
    # At most a tenth of the run: with the seed's 10 epochs a trial of one epoch would learn next to nothing.
    warmup = min(settings.warmup, settings.n_epochs / 10)
    schedule = warmup_schedule(optimizer, warmup * len(train))
    history = History()
    best_weights = copy.deepcopy(model.state_dict())
    skipped_in_a_row = 0

    with tqdm(total=settings.n_epochs * len(train), desc="train", unit="step", mininterval=0.5) as bar:
        for epoch in range(1, settings.n_epochs + 1):
            model.train()
            started, n_images, bits = time.perf_counter(), 0, 0.0
            for batch in train.shuffled(generator(seed, "shuffle", epoch)):
                if settings.flip:
                    mirrored = mirror_half(batch.images, generator(seed, "flip", history.steps, batch.images.device))
                    batch = batch._replace(images=mirrored)
                loss, bits_per_dim = _loss(model, batch, y_weight, seed, history.steps)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                if _clip_and_check(model, loss, settings):
                    optimizer.step()
                    schedule.step()
                    skipped_in_a_row = 0
                    n_images += len(batch.images)
                    bits += bits_per_dim.item() * len(batch.images)
                else:
                    skipped_in_a_row += 1
                    history.skipped_steps += 1
                history.steps += 1
                images_per_second = n_images / (time.perf_counter() - started)
                bar.set_postfix_str(
                    f"epoch {epoch}, {bits / max(n_images, 1):.3f} bits/dim, {images_per_second:.0f} images/s",
                    refresh=False,
                )
                bar.update()
                if skipped_in_a_row >= settings.max_skipped_steps:
                    history.diverged = True
                    break
            if history.diverged:
                break

            metrics: dict[str, float] = {
                "train_bits_per_dim": bits / n_images if n_images else math.nan,
                "val_bits_per_dim": mean_bits_per_dim(model, val, seed, labelled=model.y_condition),
                "images_per_second": images_per_second,
                "lr": float(schedule.get_last_lr()[0]),
                "skipped_steps": history.skipped_steps,
            }
            history.epochs.append({"epoch": epoch, "step": history.steps, **metrics})
            on_epoch(metrics, history.steps)
            if metrics["val_bits_per_dim"] < history.best_val_bits_per_dim:
                history.best_val_bits_per_dim = metrics["val_bits_per_dim"]
                history.best_epoch = epoch
                best_weights = copy.deepcopy(model.state_dict())
            if epoch % settings.sample_and_save_freq == 0 or epoch == settings.n_epochs:
                on_save(best_weights, history)

    model.load_state_dict(best_weights)
    model.eval()
    return history


def _initialize(model: Glow, train: Batches, seed: int) -> None:
    """The data-dependent initialisation, from the first batch that training will see."""
    batch = next(train.shuffled(generator(seed, "shuffle", 1)))
    noise_generator = generator(seed, "initialize", 0, batch.images.device)
    model.initialize(model.dequantization.dequantize(batch.images, noise_generator)[0])


def _loss(model: Glow, batch: Batch, y_weight: float, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and its mean bits per dimension without the class term: two scalars."""
    noise_generator = generator(seed, "dequantize", step, batch.images.device)
    x, dequantization_logdet = model.dequantization.dequantize(batch.images, noise_generator)
    labels = batch.labels if model.y_condition else None
    latent = model.to_top(x)
    log_prob = model.log_density(latent, labels) + dequantization_logdet
    bits_per_dim = model.bits_per_dim(log_prob).mean()
    if labels is None:
        return bits_per_dim, bits_per_dim.detach()
    class_loss = F.cross_entropy(model.top.class_logits(latent.z), labels)
    return bits_per_dim + y_weight * class_loss, bits_per_dim.detach()


def _clip_and_check(model: Glow, loss: Tensor, settings: Settings) -> bool:
    """Clip the gradients as the settings say; return whether they and the loss are finite."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    finite = bool(torch.isfinite(loss) & torch.isfinite(get_total_norm(gradients)))
    if settings.max_grad_clip > 0:
        clip_grad_value_(model.parameters(), settings.max_grad_clip)
    if settings.max_grad_norm > 0:
        clip_grad_norm_(model.parameters(), settings.max_grad_norm)
    return finite

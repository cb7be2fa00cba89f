"""The training loop."""

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor
from tqdm import tqdm

from glow_pipeline.flow import Glow
from glow_pipeline.images.augmentation import mirror_half
from glow_pipeline.images.loader import Batch, Batches
from glow_pipeline.randomness import generator
from glow_pipeline.training.acceleration import Compile, accelerated
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.evaluate import mean_bits_per_dim
from glow_pipeline.training.history import History, Tally
from glow_pipeline.training.step import TrainingStep

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
    def compile(self) -> Compile: ...
    @property
    def flip(self) -> bool: ...
    @property
    def sample_and_save_freq(self) -> int: ...
    @property
    def max_skipped_steps(self) -> int: ...


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
        train: training batches of one size, shuffled anew each epoch.
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
    # At most a tenth of the run: with the seed's 10 epochs a trial of one epoch would learn next to nothing.
    warmup = min(settings.warmup, settings.n_epochs / 10)
    optimizer = Adamax(
        model.parameters(),
        lr=settings.lr,
        warmup_steps=warmup * len(train),
        weight_decay=settings.decay,
        max_value=settings.max_grad_clip,
        max_norm=settings.max_grad_norm,
    )
    step = accelerated(
        TrainingStep(model, optimizer, y_weight, settings.max_skipped_steps),
        settings.compile,
        lambda: inputs_of(model, _first_batch(train, seed), seed, 0),
    )
    history = History()
    tally = Tally(history, settings.max_skipped_steps, len(train), train.device)
    best_weights = _copied(model.state_dict())

    with tqdm(total=settings.n_epochs * len(train), desc="train", unit="step", mininterval=0.5) as bar:
        for epoch in range(1, settings.n_epochs + 1):
            model.train()
            tally.start_epoch()
            batches = train.shuffled(generator(seed, "shuffle", epoch))
            for number, batch in enumerate(batches, start=(epoch - 1) * len(train)):
                tally.add(step(*inputs_of(model, batch, seed, number, flip=settings.flip)))
                if steps := tally.read():
                    images_per_second = tally.steps_per_second * train.batch_size
                    bar.set_postfix_str(
                        f"epoch {epoch}, {tally.mean_bits_per_dim:.3f} bits/dim, {images_per_second:.0f} images/s",
                        refresh=False,
                    )
                    bar.update(steps)
                if history.diverged:
                    break
            if history.diverged:
                break

            metrics: dict[str, float] = {
                "train_bits_per_dim": tally.mean_bits_per_dim,
                "images_per_second": tally.steps_per_second * train.batch_size,
                "val_bits_per_dim": mean_bits_per_dim(model, val, seed, labelled=model.y_condition),
                "lr": optimizer.learning_rate.item(),
                "skipped_steps": history.skipped_steps,
            }
            history.epochs.append({"epoch": epoch, "step": history.steps, **metrics})
            on_epoch(metrics, history.steps)
            if metrics["val_bits_per_dim"] < history.best_val_bits_per_dim:
                history.best_val_bits_per_dim = metrics["val_bits_per_dim"]
                history.best_epoch = epoch
                best_weights = _copied(model.state_dict())
            if epoch % settings.sample_and_save_freq == 0 or epoch == settings.n_epochs:
                on_save(best_weights, history)

    model.load_state_dict(best_weights)
    model.eval()
    return history


def _first_batch(train: Batches, seed: int) -> Batch:
    return next(train.shuffled(generator(seed, "shuffle", 1)))


def _initialize(model: Glow, train: Batches, seed: int) -> None:
    """The data-dependent initialisation, from the first batch that training will see."""
    images = _first_batch(train, seed).images
    model.initialize(model.dequantization.dequantize(images, generator(seed, "initialize", 0, images.device))[0])


def inputs_of(model: Glow, batch: Batch, seed: int, number: int, *, flip: bool = False) -> tuple[Tensor, ...]:
    """What step `number` is given of a batch: dequantized images with their logdet, and classes if it needs them."""
    images, labels = batch
    if flip:
        images = mirror_half(images, generator(seed, "flip", number, images.device))
    inputs = model.dequantization.dequantize(images, generator(seed, "dequantize", number, images.device))
    return (*inputs, labels) if model.y_condition else inputs


def _copied(weights: Weights) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}

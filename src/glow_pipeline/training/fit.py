"""The training loop."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from glow_pipeline.flow import Glow
from glow_pipeline.images.augmentation import mirror_half
from glow_pipeline.images.loader import Batch, Batches
from glow_pipeline.randomness import generator
from glow_pipeline.share import Share
from glow_pipeline.training.acceleration import Compile, accelerated
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.averaging import Average
from glow_pipeline.training.checkpoints import Checkpoint, Keeper
from glow_pipeline.training.evaluate import mean_bits_per_dim
from glow_pipeline.training.group import Alone, Group
from glow_pipeline.training.history import History, Tally
from glow_pipeline.training.interruption import interruption
from glow_pipeline.training.stability import InvertibilityAlarm, invertibility
from glow_pipeline.training.state import TrainingState, Weights, copied
from glow_pipeline.training.step import TrainingStep

WATCHED = 32  # images


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
    @property
    def ema(self) -> float: ...
    @property
    def accumulate(self) -> int: ...
    @property
    def early_stopping(self) -> int: ...


def fit(
    model: Glow,
    train: Batches,
    val: Batches,
    settings: Settings,
    *,
    seed: int,
    y_weight: float = 0.0,
    group: Group | None = None,
    start: Checkpoint | None = None,
    keeper: Keeper | None = None,
    on_epoch: Callable[[dict[str, float], int], bool | None],
    on_save: Callable[[Weights, History], None],
) -> History:
    """Fit `model` in place to the images of `train`, and leave the weights of its best epoch in it.

    Args:
        train: training batches of one size, shuffled anew each epoch.
        val: images that each epoch is judged by, always with the same dequantization noise.
        y_weight: weight of the class head's cross-entropy, for a class-conditioned model.
        group: the processes that do this together; None: this one alone.
        start: go on from here, to the same bits as if there had been no stop; only the leader's counts.
        keeper: writes checkpoints: at the start, when it is time, when asked to stop, and at the end.
        on_epoch: takes each epoch's metrics and the step at its end; the training ends if it answers True.
        on_save: takes the best weights and the history so far; called each
            `sample_and_save_freq` epochs and after the last epoch.

    Returns:
        The history. When it says `diverged`, the weights are the last good ones.

    Raises:
        SystemExit: SIGTERM or SIGINT came; the step was finished, and its checkpoint written.
    """
    group = group or Alone()
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
    average = Average(optimizer.vector, settings.ema)
    plain_step = TrainingStep(
        model,
        optimizer,
        y_weight,
        settings.max_skipped_steps,
        accumulate=settings.accumulate,
        batch_size=train.batch_size,
        average=average,
        group=group,
    )
    history = History()
    tally = Tally(history, settings.max_skipped_steps, len(train), train.device)
    state = TrainingState(plain_step, history, tally, {})
    _begun(state, train, seed, group, start)
    alarm, watched, enough = InvertibilityAlarm(), _watched(val, seed), False
    if keeper is not None and group.leads:
        keeper.begin(history.steps)
        if start is None:
            keeper.write(state.checkpoint())
    step = accelerated(
        plain_step,
        settings.compile,
        lambda: inputs_of(model, _first_batch(train, seed), seed, 0, batch_size=train.batch_size, share=train.share),
    )

    def save() -> None:
        tally.read(now_at_once=True)
        if keeper is not None and group.leads:
            keeper.write(state.checkpoint())

    with (
        interruption(patient=group.share.of > 1) as asked,
        tqdm(
            total=settings.n_epochs * len(train),
            initial=history.steps,
            desc="train",
            unit="step",
            mininterval=0.5,
            disable=not group.leads,
        ) as bar,
    ):
        while not _over(history, settings) and not enough:
            epoch = len(history.epochs) + 1
            done = history.steps - (epoch - 1) * len(train)
            model.train()
            for number, batch in enumerate(
                train.shuffled(generator(seed, "shuffle", epoch), first=done), history.steps
            ):
                inputs = inputs_of(
                    model, batch, seed, number, flip=settings.flip, batch_size=train.batch_size, share=train.share
                )
                tally.add(step(*inputs), optimizer.gradient_norm)
                if steps := tally.read():
                    bar.set_postfix_str(_progress(epoch, tally, train.batch_size), refresh=False)
                    bar.update(steps)
                if group.any(bool(asked) or history.diverged):
                    save()
                    if history.diverged:
                        break
                    raise SystemExit(asked.exit_code)
                if keeper is not None and group.leads and keeper.due(number + 1):
                    save()
            if history.diverged:
                break

            metrics: dict[str, float] = {
                "train_bits_per_dim": tally.mean_bits_per_dim,
                "images_per_second": tally.steps_per_second * train.batch_size,
                "lr": optimizer.learning_rate.item(),
                "skipped_steps": history.skipped_steps,
                "grad_norm": tally.gradient_norms[0],
                "largest_grad_norm": tally.gradient_norms[1],
            }
            with average.standing_in():
                bits_per_dim = mean_bits_per_dim(model, val, seed, labelled=model.y_condition, group=group)
                if group.leads:
                    metrics |= {"val_bits_per_dim": bits_per_dim, **invertibility(model, *watched)}
                    alarm.look_at(metrics)
                history.epochs.append({"epoch": epoch, "step": history.steps, **metrics})
                if bits_per_dim < history.best_val_bits_per_dim:
                    history.best_val_bits_per_dim, history.best_epoch = bits_per_dim, epoch
                    state.best_weights = copied(model.state_dict())
                tally.start_epoch()
                if group.leads:
                    enough = bool(on_epoch(metrics, history.steps))
                    if epoch % settings.sample_and_save_freq == 0 or _over(history, settings) or enough:
                        on_save(state.best_weights, history)
            enough = group.any(enough)
        save()
        if group.any(bool(asked)):
            raise SystemExit(asked.exit_code)

    model.load_state_dict(state.best_weights)
    model.eval()
    return history


def _begun(state: TrainingState, train: Batches, seed: int, group: Group, start: Checkpoint | None) -> None:
    """Bring all processes to where the leader starts: from its checkpoint, or from its freshly initialised model."""
    if group.leads and start is None:
        if not state.model.initialized:
            _initialize(state.model, train, seed)
        state.step.average.begin()
        state.best_weights = copied(state.model.state_dict())
        if group.share.of > 1:
            start = state.checkpoint()
    start = group.from_leader(start)
    if start is not None:
        state.restore(start)


def _watched(val: Batches, seed: int) -> tuple[Tensor, Tensor]:
    """The images, always the same, by which the flow's invertibility is judged, and their noise."""
    images = val.table[:WATCHED][0].to(val.device)
    noise = torch.rand(images.shape, generator=generator(seed, "watched", 0, val.device), device=val.device)
    return images, noise


def _over(history: History, settings: Settings) -> bool:
    stops_early = 0 < settings.early_stopping <= history.epochs_since_best()
    return history.diverged or stops_early or len(history.epochs) >= settings.n_epochs


def _progress(epoch: int, tally: Tally, batch_size: int) -> str:
    images_per_second = tally.steps_per_second * batch_size
    return f"epoch {epoch}, {tally.mean_bits_per_dim:.3f} bits/dim, {images_per_second:.0f} images/s"


def _first_batch(train: Batches, seed: int) -> Batch:
    return next(train.shuffled(generator(seed, "shuffle", 1)))


def _initialize(model: Glow, train: Batches, seed: int) -> None:
    """The data-dependent initialisation, from the whole first batch that training will see."""
    images = _first_batch(Batches(train.table, train.batch_size, train.device), seed).images
    model.initialize(model.dequantization.dequantize(images, generator(seed, "initialize", 0, images.device))[0])


def inputs_of(
    model: Glow,
    batch: Batch,
    seed: int,
    number: int,
    *,
    flip: bool = False,
    batch_size: int | None = None,
    share: Share | None = None,
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
    rows = (share or Share()).rows(batch_size)
    if flip:
        images = mirror_half(images, generator(seed, "flip", number, images.device), batch_size, rows)
    noise = generator(seed, "dequantize", number, images.device)
    inputs = model.dequantization.dequantize(images, noise, batch_size, rows)
    return (*inputs, labels) if model.y_condition else inputs

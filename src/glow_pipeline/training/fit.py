"""The training loop."""

import logging
import sys
from collections.abc import Callable
from typing import NoReturn, Protocol

import torch
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from glow_pipeline.device import Compile
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batch, Batches
from glow_pipeline.randomness import generator
from glow_pipeline.signals import Interruption, interruption
from glow_pipeline.training.acceleration import accelerated
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.adaptive import TrainingThreads
from glow_pipeline.training.checkpoint import Checkpoint, CheckpointSchedule
from glow_pipeline.training.distributed.process_group import ProcessGroup, SingleProcess
from glow_pipeline.training.evaluation import mean_bits_per_dim
from glow_pipeline.training.forecast import Forecast
from glow_pipeline.training.history import History, Tally
from glow_pipeline.training.inputs import first_batch, initialize, inputs_of
from glow_pipeline.training.invertibility_alarm import InvertibilityAlarm, invertibility
from glow_pipeline.training.state import TrainingState, Weights, copied
from glow_pipeline.training.step import TrainingStep
from glow_pipeline.training.weight_averaging import Average

WATCHED = 32  # images

logger = logging.getLogger(__name__)


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
    group: ProcessGroup | None = None,
    start: Checkpoint | None = None,
    keeper: CheckpointSchedule | None = None,
    threads: TrainingThreads | None = None,
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
        keeper: the leader's; writes checkpoints: at the start, when it is time, when asked to stop, and at the end.
        threads: of a CPU, in use; None: leave them as they are.
        on_epoch: takes each epoch's metrics and the step at its end; the training ends if it answers True.
        on_save: takes the best weights and the history so far; called each
            `sample_and_save_freq` epochs and after the last epoch.

    Returns:
        The history. When it says `diverged`, the weights are the last good ones.

    Raises:
        SystemExit: SIGTERM or SIGINT came; the step was finished, and its checkpoint written.
    """
    group = group or SingleProcess()
    state = _prepared(model, train, settings, y_weight, group)
    history, tally, optimizer = state.history, state.tally, state.step.optimizer

    def inputs(batch: Batch, number: int) -> tuple[Tensor, ...]:
        return inputs_of(model, batch, seed, number, flip=settings.flip, batch_size=train.batch_size, share=train.share)

    def example() -> tuple[Tensor, ...]:
        return inputs(first_batch(train, seed), 0)

    def save() -> None:
        tally.read(now_at_once=True)
        if keeper is not None:
            keeper.write(state.checkpoint())

    alarm, watched, enough = InvertibilityAlarm(), _watched(val, seed), False
    done_before = 0 if start is None else start.step
    with (
        interruption(patient=group.share.of > 1) as asked,
        _bar(done_before, train, settings, group) as bar,
        logging_redirect_tqdm(),
    ):
        if threads is not None:
            threads.choose_at_start(state.step, example, settings.n_epochs * len(train))
        _begin(state, train, seed, group, start)
        if keeper is not None:
            keeper.begin(history.steps)
            if start is None:
                keeper.write(state.checkpoint())
        step = accelerated(state.step, settings.compile, example)
        if threads is not None and not (model.execution and model.execution.compiled):
            step = threads.watched(state.step, save)  # compiled code has its number of threads built in
        bar.unpause()  # what comes before the first step counts for no speed
        tally.start_clock()
        forecast = Forecast(history.steps, settings.n_epochs * len(train), len(train))
        while not _over(history, settings) and not enough:
            epoch = len(history.epochs) + 1
            done = history.steps - (epoch - 1) * len(train)
            model.train()
            batches = train.shuffled(generator(seed, "shuffle", epoch), first=done)
            for number, batch in enumerate(batches, start=history.steps):
                tally.add(step(*inputs(batch, number)), optimizer.gradient_norm)
                if steps := tally.read():
                    bar.set_postfix_str(_progress(epoch, tally, train.batch_size), refresh=False)
                    bar.update(steps)
                    if group.leads and (line := forecast.line(history.steps)):
                        bar.write(line, file=sys.stderr)
                if group.any(bool(asked) or history.diverged):
                    save()
                    if history.diverged:
                        break
                    _leave(asked, group, history)
                if keeper is not None and keeper.due(number + 1):
                    save()
            if history.diverged:
                break

            metrics: dict[str, float] = {
                "epoch": epoch,
                "train_bits_per_dim": tally.mean_bits_per_dim,
                "images_per_second": tally.steps_per_second * train.batch_size,
                "lr": optimizer.learning_rate.item(),
                "skipped_steps": history.skipped_steps,
                "grad_norm": tally.gradient_norms[0],
                "largest_grad_norm": tally.gradient_norms[1],
            }
            with state.step.average.standing_in():
                bits_per_dim = mean_bits_per_dim(model, val, seed, labelled=model.y_condition, group=group)
                if group.leads:
                    metrics |= {"val_bits_per_dim": bits_per_dim, **invertibility(model, *watched)}
                    alarm.look_at(metrics)
                history.epochs.append({**metrics, "step": history.steps})
                tally.start_epoch()
                if bits_per_dim < history.best_val_bits_per_dim:
                    history.best_val_bits_per_dim, history.best_epoch = bits_per_dim, epoch
                    state.best_weights = copied(model.state_dict())
                if group.leads:
                    enough = bool(on_epoch(metrics, history.steps))
                    if epoch % settings.sample_and_save_freq == 0 or _over(history, settings) or enough:
                        on_save(state.best_weights, history)
            enough = group.any(enough)
        save()
        if group.any(bool(asked)):
            _leave(asked, group, history)

    model.load_state_dict(state.best_weights)
    model.eval()
    return history


def _prepared(model: Glow, train: Batches, settings: Settings, y_weight: float, group: ProcessGroup) -> TrainingState:
    """All that training changes, before its first step."""
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
    step = TrainingStep(
        model,
        optimizer,
        y_weight,
        settings.max_skipped_steps,
        accumulate=settings.accumulate,
        batch_size=train.batch_size,
        average=Average(optimizer.vector, settings.ema),
        group=group,
    )
    history = History()
    return TrainingState(step, history, Tally(history, settings.max_skipped_steps, len(train), train.device), {})


def _begin(state: TrainingState, train: Batches, seed: int, group: ProcessGroup, start: Checkpoint | None) -> None:
    """Bring all processes to where the leader starts: at its checkpoint, or at its freshly initialised model."""
    if group.leads and start is None:
        if not state.model.initialized:
            initialize(state.model, train, seed)
        state.step.average.begin()
        state.best_weights = copied(state.model.state_dict())
        if group.share.of > 1:
            start = state.checkpoint()
    start = group.from_leader(start)
    if start is not None:
        state.restore(start)


def _leave(asked: Interruption, group: ProcessGroup, history: History) -> NoReturn:
    if group.leads:
        logger.info("Stopped at step %s, as asked; the same command goes on from there.", history.steps)
    raise SystemExit(asked.exit_code)


def _bar(done_before: int, train: Batches, settings: Settings, group: ProcessGroup) -> "tqdm[NoReturn]":
    return tqdm(
        total=settings.n_epochs * len(train),
        initial=done_before,
        desc="train",
        unit="step",
        mininterval=0.5,
        disable=not group.leads,
    )


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

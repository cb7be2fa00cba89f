"""The training loop."""

import logging
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from glow_pipeline.device import describe_device
from glow_pipeline.errors import TrainingStopped
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batch, Batches
from glow_pipeline.parameters import TrainParameters
from glow_pipeline.randomness import generator
from glow_pipeline.signals import Interruption, interruption
from glow_pipeline.training.acceleration import accelerated
from glow_pipeline.training.adaptive_threads import Step, TrainingThreads
from glow_pipeline.training.captured_step import Captured
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.checkpoint_folder import CheckpointSchedule
from glow_pipeline.training.distributed.process_group import ProcessGroup, SingleProcess
from glow_pipeline.training.evaluation import queued_bits_per_dim
from glow_pipeline.training.gradient_alarm import GradientAlarm
from glow_pipeline.training.history import History, Metrics
from glow_pipeline.training.inputs import initialize, inputs_of
from glow_pipeline.training.invertibility_alarm import Invertibility, InvertibilityAlarm
from glow_pipeline.training.passes import Passes
from glow_pipeline.training.progress import Progress
from glow_pipeline.training.records import CheckpointRecord
from glow_pipeline.training.reporter import Reporter, SeveralReporters
from glow_pipeline.training.state import Weights, initial_state

WATCHED = 32  # images by which invertibility is judged

logger = logging.getLogger(__name__)


class Trainer:
    """Trains a flow in place, from its weights or from a checkpoint, and leaves it with the weights of its best epoch.

    Args:
        flow: the flow, on the device that trains it.
        train_batches: training batches, all of one size.
        val_batches: images that each epoch is validated on, with the same dequantization noise each time.
        parameters: training parameters.
        record: record of the training at its start, for its checkpoints.
        seed: seed of all random draws.
        y_weight: weight of the class head's cross-entropy, for a class-conditioned model.
        group: the processes that train together; None: this one alone.
        start: the checkpoint to resume from, to the same bits as without a stop; that of the leader is used.
        checkpoints: writes checkpoints at the start, when due, before a stop and at the end; None except in the leader.
        threads: number of CPU threads, already in use; None: as many as torch uses.
        reporter: takes the metrics of each epoch, and the flow every `sample_and_save_freq` epochs and after the last
            one; called in the leader.
    """

    def __init__(
        self,
        flow: Glow,
        train_batches: Batches,
        val_batches: Batches,
        parameters: TrainParameters,
        record: CheckpointRecord,
        *,
        seed: int,
        y_weight: float = 0.0,
        group: ProcessGroup | None = None,
        start: Checkpoint | None = None,
        checkpoints: CheckpointSchedule | None = None,
        threads: TrainingThreads | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.flow, self.train_batches, self.val_batches = flow, train_batches, val_batches
        self.parameters, self.seed, self._initial_record = parameters, seed, record
        self.group = group or SingleProcess()
        self.start_checkpoint, self.checkpoints = start, checkpoints
        self.threads = threads or TrainingThreads(torch.get_num_threads(), [torch.get_num_threads()])
        self.reporter = reporter or SeveralReporters([])
        self.state = initial_state(flow, train_batches, parameters, y_weight, self.group)
        self.history, self.metrics, self.optimizer = self.state.history, self.state.metrics, self.state.step.optimizer
        self.step: Step = self.state.step  # `start` replaces it by its compiled, captured or watched form
        self.epoch_steps = parameters.epoch_steps(len(train_batches.table), train_batches.batch_size)
        self.total_steps = parameters.n_epochs * self.epoch_steps
        steps_done, size = 0 if start is None else start.step, train_batches.batch_size
        self.progress = Progress(steps_done, self.total_steps, self.epoch_steps, size, shown=self.group.leads)
        self.invertibility, self.alarm = Invertibility(flow, *_watched(val_batches, seed)), InvertibilityAlarm()
        self.gradient_alarm = GradientAlarm(parameters.max_grad_norm)
        self.interruption = Interruption()
        self.stopped_by_reporter = False
        self.passes = Passes(train_batches, seed)

    def fit(self) -> History:
        """Train to the end.

        Returns:
            The history. If it says `diverged`, the weights are the last good ones.

        Raises:
            TrainingStopped: SIGTERM or SIGINT came; the step was finished, and its checkpoint written.
        """
        with interruption(patient=self.group.shard.world_size > 1) as self.interruption, self.progress:
            self.start()
            while not self.finished:
                self.train_epoch()
                if not self.history.diverged:
                    self.evaluate_epoch()
            self.passes.close()
            self.save_checkpoint()
            if self.group.any(bool(self.interruption)):
                raise self.stopped()
        self.flow.load_state_dict(self.state.best_weights)
        self.flow.eval()
        return self.history

    def start(self) -> None:
        """Restore the checkpoint, or initialize and write the first one; and prepare the steps."""
        self.threads.choose_at_start(self.state.step, self.example, self.total_steps)
        self.restore_or_initialize()
        if self.checkpoints is not None:
            self.checkpoints.start(self.history.steps)
            if self.start_checkpoint is None:
                self.save_checkpoint()
        self.step = accelerated(self.state.step, self.parameters.compile, self.example)
        compiled = self.flow.execution is not None and self.flow.execution.compiled
        if self.step is self.state.step and not compiled:  # compiled code has its number of threads built in
            self.step = self.threads.watched(self.state.step, self.save_checkpoint)
        if self.group.leads and isinstance(self.step, Captured):
            self.invertibility.record(self.step.recorder)
        self.progress.start(self.history.steps)
        self.metrics.start_clock()

    def restore_or_initialize(self) -> None:
        """Bring all processes to the leader's start: its checkpoint, or its freshly initialized flow."""
        start = self.start_checkpoint
        if self.group.leads and start is None:
            if not self.flow.initialized:
                initialize(self.flow, self.passes.first_batch(complete=True), self.seed)
            self.state.step.average.start()
            self.state.best_weights = self.state.copied_weights()
            if self.group.shard.world_size > 1:
                start = self.state.checkpoint(self.record)
        start = self.group.from_leader(start)
        if start is not None:
            self.state.restore(start)

    def train_epoch(self) -> None:
        """Take the remaining steps of the epoch, or fewer if the training diverges.

        Raises:
            TrainingStopped: a signal came.
        """
        self.flow.train()
        for number, batch in enumerate(self.remaining_batches(), start=self.history.steps):
            self.metrics.add(self.step(*self.inputs(batch, number)), self.optimizer.gradient_norm)
            self.read_metrics()
            if self.group.any(bool(self.interruption) or self.history.diverged):
                self.save_checkpoint()  # reads all metrics, so that all processes know of a divergence
                if self.history.diverged:
                    return
                raise self.stopped()
            if self.checkpoints is not None and self.checkpoints.due(number + 1):
                self.save_checkpoint()

    def evaluate_epoch(self) -> None:
        """Validate the epoch with the averaged weights, add it to the history, and report it.

        A GPU is given all work of the evaluation while it still has steps to do, and only then the host waits for it:
        otherwise it would have nothing to do whenever the host reads a result and launches what comes next.
        """
        with self.state.step.average.applied():
            self.metrics.queue_reading()
            figures = self.invertibility.queue() if self.group.leads else dict
            weights = self.state.copied_weights()
            validation = self.queued_validation()
            self.read_metrics(force=True)
            if not self.history.diverged:
                self.add_epoch(figures(), validation(), weights)
        self.stopped_by_reporter = self.group.any(self.stopped_by_reporter)

    def add_epoch(self, invertibility: Metrics, bits_per_dim: float, weights: Weights) -> None:
        """Add an epoch to the history and report it.

        Args:
            invertibility: its figures; empty except in the leader.
            bits_per_dim: mean of the validation images.
            weights: those that were validated, which are also the flow's at this moment.
        """
        epoch, metrics = self.epoch, self.epoch_metrics()
        if self.group.leads:
            metrics |= {"val_bits_per_dim": bits_per_dim, **invertibility}
            self.alarm.check(metrics)
            self.gradient_alarm.check(metrics, self.history.epochs)
        self.history.epochs.append({**metrics, "step": self.history.steps})
        self.metrics.start_epoch()
        if bits_per_dim < self.history.best_val_bits_per_dim:
            self.history.best_val_bits_per_dim, self.history.best_epoch = bits_per_dim, epoch
            self.state.best_weights = weights
        if self.group.leads:
            self.stopped_by_reporter = self.reporter.epoch(metrics, self.history.steps)
            if epoch % self.parameters.sample_and_save_freq == 0 or self.finished:
                self.reporter.samples(self.flow, epoch)

    def read_metrics(self, *, force: bool = False) -> None:
        """Take the metrics of steps into the history, as `StepMetrics.read` does, and show the progress."""
        if new_steps := self.metrics.read(force=force):
            self.progress.update(new_steps, self.history.steps, self.epoch, self.metrics)

    def save_checkpoint(self) -> None:
        """Write a checkpoint of the state after the last step."""
        self.read_metrics(force=True)
        if self.checkpoints is not None:
            self.checkpoints.write(self.state.checkpoint(self.record))

    @property
    def epoch(self) -> int:
        """Number of the present epoch, counted from 1."""
        return len(self.history.epochs) + 1

    @property
    def finished(self) -> bool:
        """True if no epoch is left: all are done, or training diverged, stopped early or was stopped by a reporter."""
        stops_early = 0 < self.parameters.early_stopping <= self.history.epochs_since_best()
        all_done = len(self.history.epochs) >= self.parameters.n_epochs
        return all_done or stops_early or self.history.diverged or self.stopped_by_reporter

    @property
    def record(self) -> CheckpointRecord:
        """The training's record, with the present number of threads."""
        device = describe_device(self.train_batches.device, self.group.shard.world_size, self.threads.number)
        computation = self._initial_record.computation.model_copy(
            update={"device": device, "threads": self.threads.number}
        )
        return self._initial_record.model_copy(update={"computation": computation})

    def remaining_batches(self) -> Iterator[Batch]:
        """Return the epoch's batches that have not been trained on, in the order of the seed in each pass."""
        return self.passes.batches(self.history.steps, self.epoch * self.epoch_steps)

    def inputs(self, batch: Batch, number: int) -> tuple[Tensor, ...]:
        """Return the inputs of step `number`, counted from 0."""
        return inputs_of(
            self.flow,
            batch,
            self.seed,
            number,
            flip=self.parameters.flip,
            mutation=self.parameters.mutation,
            batch_size=self.train_batches.batch_size,
            shard=self.train_batches.shard,
        )

    def example(self) -> tuple[Tensor, ...]:
        """Return inputs of a step, to measure and compile it."""
        return self.inputs(self.passes.first_batch(), 0)

    def epoch_metrics(self) -> Metrics:
        """Return the epoch's metrics before its validation."""
        mean_norm, largest_norm = self.metrics.gradient_norms
        return {
            "epoch": self.epoch,
            "train_bits_per_dim": self.metrics.mean_bits_per_dim,
            "images_per_second": self.metrics.steps_per_second * self.train_batches.batch_size,
            "lr": self.optimizer.learning_rate.item(),
            "skipped_steps": self.history.skipped_steps,
            "grad_norm": mean_norm,
            "largest_grad_norm": largest_norm,
        }

    def queued_validation(self) -> Callable[[], float]:
        """Queue the validation; the result returns its bits per dimension, given the class for a conditioned flow."""
        return queued_bits_per_dim(
            self.flow, self.val_batches, self.seed, labelled=self.flow.y_condition, group=self.group
        )

    def stopped(self) -> TrainingStopped:
        """Return the exception that ends a training after a signal."""
        if self.group.leads:
            logger.info("Stopped at step %s, as requested; the same command resumes from there.", self.history.steps)
        return TrainingStopped(self.history.steps, self.interruption.exit_code)


def _watched(val_batches: Batches, seed: int) -> tuple[Tensor, Tensor]:
    """Return the images, always the same, by which the flow's invertibility is judged, and their noise."""
    images = val_batches.table[:WATCHED][0].to(val_batches.device)
    noise = torch.rand(
        images.shape, generator=generator(seed, "watched", 0, val_batches.device), device=val_batches.device
    )
    return images, noise

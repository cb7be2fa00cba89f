"""Train a flow: in this process, or in several that work together."""

import logging
from contextlib import AbstractContextManager, ExitStack

import torch

from glow_pipeline.density import scoring_batch
from glow_pipeline.device import keeps_on_device, resolve_device, resolve_precision, use_device
from glow_pipeline.errors import GlowPipelineError, HelperFinished, TrainingStopped
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.images.batches import Batches
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.parameters import TrainParameters
from glow_pipeline.parameters.interval import Interval
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.training.adaptive_threads import TrainingThreads
from glow_pipeline.training.checkpoint import Checkpoint, read_checkpoint
from glow_pipeline.training.checkpoint_folder import CheckpointSchedule, TrainingFolder
from glow_pipeline.training.checks import check_batch_size, check_shared
from glow_pipeline.training.distributed.launch import launch, leads_here
from glow_pipeline.training.distributed.machines import machine_rank, n_processes
from glow_pipeline.training.distributed.process_group import DistributedGroup, ProcessGroup, SingleProcess
from glow_pipeline.training.distributed.remote_reporter import RemoteReporter, reports_taken
from glow_pipeline.training.epoch_samples import EpochSamples
from glow_pipeline.training.history import History
from glow_pipeline.training.kept_samples import KeptSamples
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.new_records import initial_record, model_record, warn_of_changes
from glow_pipeline.training.records import CheckpointRecord
from glow_pipeline.training.reporter import MlflowReporter, Reporter, SeveralReporters
from glow_pipeline.training.start_summary import announce
from glow_pipeline.training.state import best_weights_in
from glow_pipeline.training.task import TrainingTask
from glow_pipeline.training.trainer import Trainer

logger = logging.getLogger(__name__)


def train(task: TrainingTask, flow: Glow, reporter: Reporter | None = None) -> tuple[TrainedGlow, History]:
    """Train `flow`; return the model of the best epoch and the history.

    Args:
        task: everything that the training needs but the flow.
        flow: as `untrained_flow` makes it; trained in place where this process trains alone.
        reporter: takes each epoch, beside the task's MLflow run. Where several processes train, it is called in a
            thread of this one, and gets no samples.

    Raises:
        ValueError: several processes without a folder, in which the first one stores the model.
        TrainingStopped: a signal came, and the training has stopped; or this machine only helped (HelperFinished).
        GlowPipelineError: the parameters are not allowed here, or a checkpoint cannot be read or written.
    """
    parameters = task.parameters.train
    device = use_device(task.parameters.device)
    per_machine = n_processes(parameters.devices, device)
    task = task.in_processes(per_machine * parameters.nodes).staged()
    if per_machine * parameters.nodes > 1:
        return train_in_processes(task, flow, per_machine, reporter)
    with _memory_in_one_line(parameters):
        return train_in_this_process(task, flow, SingleProcess(), reporter)


def train_in_processes(
    task: TrainingTask, flow: Glow, per_machine: int, reporter: Reporter | None
) -> tuple[TrainedGlow, History]:
    """Train in several processes, and read the result from their last checkpoint.

    Args:
        task, flow, reporter: as in `train`.
        per_machine: number of processes on each machine.
    """
    parameters = task.parameters.train
    only_helps = machine_rank(parameters.nodes) > 0
    if task.folder is None and not only_helps:
        raise ValueError(f"{per_machine} processes here need a folder to store the trained model in")
    with ExitStack() as stack:
        remote = None if reporter is None else stack.enter_context(reports_taken(reporter))
        try:
            launch(
                _worker,
                (task, remote),
                per_machine=per_machine,
                machines=parameters.nodes,
                rendezvous=parameters.rendezvous,
                max_restarts=parameters.max_restarts,
                on_gpus=resolve_device(task.parameters.device).type == "cuda",
            )
        except TrainingStopped as stopped:
            last_step = None if task.folder is None else TrainingFolder(task.folder).last_step
            raise TrainingStopped(last_step, stopped.exit_code) from None
    if task.folder is None or only_helps:
        logger.info("This machine has helped; the trained model is on the first one.")
        raise HelperFinished
    end = TrainingFolder(task.folder).newest()
    if end is None:
        raise GlowPipelineError(f"{task.folder}: the training's last checkpoint is gone; type the command again")
    flow.load_state_dict(best_weights_in(end))
    return _trained(task, flow.eval(), end.record, end.record.history)


def _worker(restarted: bool, task: TrainingTask, reporter: RemoteReporter | None) -> None:
    """Train in one of several processes."""
    record = task.fit_images.record
    flow = untrained_flow(task.parameters, record.image_format, record.num_classes)
    group = DistributedGroup(leads=leads_here(task.folder is not None))
    with _memory_in_one_line(task.parameters.train):
        train_in_this_process(task, flow, group, reporter, restarted=restarted)


def train_in_this_process(
    task: TrainingTask, flow: Glow, group: ProcessGroup, reporter: Reporter | None, *, restarted: bool = False
) -> tuple[TrainedGlow, History]:
    """Train with the other processes of the group.

    Args:
        task, flow, reporter: as in `train`.
        group: the processes that train together.
        restarted: after another process died, resume from the newest checkpoint.
    """
    parameters = task.parameters.train
    device = use_device(task.parameters.device)
    flow = flow.to(device)
    if flow.foldable:  # else its plain layers train it
        flow.execution = Execution(parameters.activations, resolve_precision(parameters.precision, device))
    check_shared(parameters, group.shard.world_size)
    check_batch_size(parameters, group.shard.world_size, len(task.fit_images))
    scored_at_once = _scored_at_once(flow, len(task.scored_val_images), group)
    start = _start(task, restarted) if group.leads else None
    threads = _threads(task, start, device, group)
    record = initial_record(task, flow, start, device, group.shard.world_size, threads.number)
    if start is not None:
        warn_of_changes(start.record, record)
    if group.leads and task.prints_summary:
        announce(
            task,
            flow,
            scored=scored_at_once,
            processes=group.shard.world_size,
            steps_done=0 if start is None else start.step,
            device=record.computation.device,
        )
    with MetricLogger(task.mlflow_run if group.leads else None) as metric_logger, threads.in_use():
        drawn = EpochSamples(task.parameters.seed, task.parameters.sample.temperature)
        mlflow = MlflowReporter(metric_logger, drawn, given_class=flow.y_condition)
        if start is not None:
            mlflow.catch_up(start.record.history)
        kept = _kept_samples(task, drawn) if group.leads else None
        reporters = [each for each in (mlflow, kept, reporter) if each is not None]
        trainer = Trainer(
            flow,
            _training_batches(task, flow, device, group),
            Batches(
                task.scored_val_images,
                scored_at_once,
                device,
                on_device=_keeps_on_device(task, flow, device, len(task.fit_images) + len(task.scored_val_images)),
            ),
            parameters,
            record,
            seed=task.parameters.seed,
            y_weight=task.parameters.model.y_weight,
            group=group,
            start=start,
            checkpoints=_checkpoints(task, kept) if group.leads else None,
            threads=threads,
            reporter=SeveralReporters(reporters),
        )
        history = trainer.fit()
    return _trained(task, flow, trainer.record, history)


def _training_batches(task: TrainingTask, flow: Glow, device: torch.device, group: ProcessGroup) -> Batches:
    parameters = task.parameters.train
    return Batches(
        task.fit_images,
        task.batch_size,
        device,
        parameters.num_workers,
        drop_last=True,
        on_device=_keeps_on_device(task, flow, device, len(task.fit_images)),
        shard=group.shard,
    )


def _keeps_on_device(task: TrainingTask, flow: Glow, device: torch.device, n_images: int) -> bool:
    return keeps_on_device(task.parameters.train.data_on_device, n_images * flow.dimensions, device)


def _scored_at_once(flow: Glow, n_images: int, group: ProcessGroup) -> int:
    """Return how many images to score at once, the same number in all processes; on GPUs each has a batch to score."""
    n = scoring_batch(flow)
    if next(flow.parameters()).device.type != "cpu":
        n = min(n, max(1, -(-n_images // group.shard.world_size)))
    return int(group.gather(torch.tensor([n])).min())


def _start(task: TrainingTask, restarted: bool) -> Checkpoint | None:
    """Return the checkpoint to resume from; after a restart of the processes, the newest one."""
    if task.folder is not None and restarted:
        return TrainingFolder(task.folder).newest()
    return None if task.start is None else read_checkpoint(task.start, check=False)  # it was checked when claimed


def _threads(
    task: TrainingTask, start: Checkpoint | None, device: torch.device, group: ProcessGroup
) -> TrainingThreads:
    """Return the threads of a training; one on a CPU resumes with those that its checkpoint records."""
    recorded = None
    if start is not None and device.type == "cpu" and "cpu" in start.record.computation.device:
        recorded = start.record.computation.threads
    image_format = task.fit_images.record.image_format
    return TrainingThreads.for_training(
        fixed=task.parameters.train.threads,
        recorded=recorded,
        pixels=task.batch_size * image_format.height * image_format.width,
        measured=device.type == "cpu" and group.shard.world_size == 1,
    )


def _kept_samples(task: TrainingTask, drawn: EpochSamples) -> KeptSamples | None:
    if task.folder is None or not task.keeps_samples:
        return None
    return KeptSamples(task.folder, drawn)


def _checkpoints(task: TrainingTask, kept: KeptSamples | None) -> CheckpointSchedule | None:
    if task.folder is None:
        return None
    parameters = task.parameters.train
    return CheckpointSchedule(
        TrainingFolder(task.folder),
        Interval.parse(parameters.checkpoint_every),
        parameters.keep_checkpoints,
        before=None if kept is None else kept.write,
    )


def _trained(task: TrainingTask, flow: Glow, record: CheckpointRecord, history: History) -> tuple[TrainedGlow, History]:
    record_of_model = model_record(task, flow, record, history)
    return TrainedGlow(flow, record_of_model, task.trained_on, task.calibration), history


def _memory_in_one_line(parameters: TrainParameters) -> AbstractContextManager[None]:
    return memory_in_one_line(
        parameters.batch_size_as_given,
        f"lower it, raise train.accumulate={parameters.accumulate}, or set train.activations=reversible",
    )

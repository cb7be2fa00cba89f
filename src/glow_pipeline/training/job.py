"""One training from image tables to a trained flow: in this process, or in several that work together."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.device import (
    describe_device,
    keeps_on_device,
    resolve_device,
    resolve_precision,
    use_device,
)
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.parameters import ModelParameters, Parameters, TrainParameters, check_num_classes
from glow_pipeline.parameters.interval import Interval
from glow_pipeline.plots.grids import cross_out, square_grid
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import draw
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.tracking.runs import RunAddress
from glow_pipeline.training.adaptive import TrainingThreads
from glow_pipeline.training.checkpoint import Checkpoint, CheckpointSchedule, TrainingFolder, read_checkpoint
from glow_pipeline.training.distributed.epoch_reports import EpochReports, OnEpoch, epochs_heard
from glow_pipeline.training.distributed.launch import launch, leads_here
from glow_pipeline.training.distributed.machines import machine_rank, n_processes
from glow_pipeline.training.distributed.process_group import DistributedGroup, ProcessGroup, SingleProcess
from glow_pipeline.training.fit import fit
from glow_pipeline.training.history import History, reported
from glow_pipeline.training.model_file import ModelRecord, Provenance, TrainedGlow, build_flow, read_model
from glow_pipeline.training.resume import Training, identity, shown
from glow_pipeline.training.start_summary import announce
from glow_pipeline.training.state import Weights, best_weights_in

EVALUATION_BATCH, EVALUATION_PIXELS = 256, 2**22  # images at once; on a CPU no more of them than have so many pixels
CHANGE_LAST_BITS = ("activations", "compile", "accumulate")  # of a training that may go on with other ones

logger = logging.getLogger(__name__)


def no_hashes() -> NDArray[np.int64]:
    """Return the content hashes of no image."""
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Job:
    """What a training needs to know; goes to other processes as it is, since tables are known by where they lie.

    Attributes:
        test_images: held out for testing.
        seen_before: content hashes of what the model of `train.checkpoint` was trained on; None: not known.
        folder: where its checkpoints are stored; None on a machine that writes none.
        start: the checkpoint to go on from.
        mlflow_run: takes its metrics.
    """

    fit_images: ImageTable
    val_images: ImageTable
    parameters: Parameters
    provenance: Provenance
    folder: Path | None = None
    start: Path | None = None
    mlflow_run: RunAddress | None = None
    test_images: ImageTable | None = None
    seen_before: NDArray[np.int64] | None = field(default_factory=no_hashes)

    def within(self, training: Training) -> Self:
        """The job of beginning a claimed training, or of going on with it.

        Raises:
            GlowPipelineError: it began with other images.
        """
        folder, start = training.folder, training.start
        if start is not None:
            _check_same_images(TableRecord.model_validate(start.facts["train_table"]), self.fit_images.record, start)
        return replace(
            self, folder=None if folder is None else folder.path, start=None if start is None else start.path
        )


def flow_arguments(model: ModelParameters, num_classes: int) -> dict[str, object]:
    """The parameters that say what the flow is, for `Glow` and for a model's record."""
    return {**model.model_dump(exclude={"n_bits", "y_weight"}), "num_classes": num_classes}


def untrained_flow(parameters: Parameters, image_format: ImageFormat, num_classes: int) -> Glow:
    """Return a Glow for these images, of so many classes, with fresh weights or those of `train.checkpoint`.

    Raises:
        GlowPipelineError: it is class-conditioned, and does not know all of these classes.
    """
    if parameters.train.checkpoint is not None:
        flow = read_model(Path(parameters.train.checkpoint)).flow
        if flow.y_condition:
            check_knows_classes(parameters.train.checkpoint, flow.num_classes, num_classes)
        return flow
    check_num_classes(parameters, num_classes)
    model = parameters.model
    arguments = flow_arguments(model, model.num_classes or num_classes)
    with memory_in_one_line(f"model.hidden_channels={model.hidden_channels}", f"lower it, or model.K={model.K}"):
        return build_flow(image_format, arguments, generator(parameters.seed, "weights"))


def evaluation_batch(image_format: ImageFormat, device: torch.device) -> int:
    """Return how many images are scored at once to evaluate a model: few enough to need less memory than a step."""
    fitting = (
        EVALUATION_PIXELS // (image_format.height * image_format.width) if device.type == "cpu" else EVALUATION_BATCH
    )
    return max(1, min(EVALUATION_BATCH, fitting))


def check_knows_classes(checkpoint: str, known: int, num_classes: int) -> None:
    """Check that a class-conditioned `train.checkpoint` knows as many classes as the images have.

    Raises:
        GlowPipelineError: it does not.
    """
    if known < num_classes:
        raise GlowPipelineError(
            f"train.checkpoint={checkpoint}: a model of {known} classes, but the images have {num_classes}; choose "
            f"another checkpoint, or start anew with train.checkpoint=null"
        )


def check_training(parameters: Parameters, n_images: int) -> None:
    """Check all of a training on one machine that can be known before it starts, its number of images included.

    Raises:
        GlowPipelineError: what is wrong first.
    """
    settings = parameters.train
    device = resolve_device(parameters.device)
    resolve_precision(settings.precision, device)
    _check_batches(settings, min(settings.batch_size, n_images), n_processes(settings.devices, device))


def _check_batches(settings: TrainParameters, batch_size: int, n_processes: int) -> None:
    if batch_size < n_processes * settings.accumulate:
        shared = f"shared by {n_processes} processes" if n_processes > 1 else "taken"
        raise GlowPipelineError(
            f"train.batch_size={settings.batch_size}: batches of {batch_size} images cannot be {shared} in "
            f"{settings.accumulate} parts; lower train.devices or train.accumulate"
        )


def run(job: Job, flow: Glow, on_epoch: OnEpoch | None = None) -> tuple[TrainedGlow, History]:
    """Train `flow`; the model that comes out is that of the best epoch.

    Args:
        on_epoch: takes each epoch's metrics and the step at its end; the training ends if it answers True. With several
            processes it is called in a thread of this one.

    Raises:
        ValueError: several processes without a folder, in which the first one hands the model over.
        SystemExit: the training was asked to stop and did, or this machine only helped.
    """
    settings = job.parameters.train
    device = use_device(job.parameters.device)
    per_machine = n_processes(settings.devices, device)
    if per_machine * settings.nodes == 1:
        with _memory_in_one_line(settings):
            return _train(job, flow, SingleProcess(), on_epoch)
    only_helps = machine_rank(settings.nodes) > 0
    if job.folder is None and not only_helps:
        raise ValueError(f"{per_machine} processes here need a folder to hand the trained model over in")
    with nullcontext() if on_epoch is None else epochs_heard(on_epoch) as reports:
        launch(
            _worker,
            (job, reports),
            per_machine=per_machine,
            machines=settings.nodes,
            rendezvous=settings.rendezvous,
            max_restarts=settings.max_restarts,
        )
    if job.folder is None or only_helps:
        logger.info("This machine has helped; the trained model is on the first one.")
        raise SystemExit(0)
    end = TrainingFolder(job.folder).newest()
    if end is None:
        raise GlowPipelineError(f"{job.folder}: the checkpoint of the training's end is gone; type the command again")
    history = History(**end.facts["history"])
    flow.load_state_dict(best_weights_in(end))
    return _trained(job, flow.eval(), history, end.facts), history


def _worker(restarted: bool, job: Job, reports: EpochReports | None) -> None:
    """What each of several processes does."""
    record = job.fit_images.record
    flow = untrained_flow(job.parameters, record.image_format, record.num_classes)
    on_epoch = None if reports is None else reports.send
    with _memory_in_one_line(job.parameters.train):
        _train(job, flow, DistributedGroup(leads=leads_here(job.folder is not None)), on_epoch, restarted)


def _memory_in_one_line(train: TrainParameters) -> AbstractContextManager[None]:
    return memory_in_one_line(
        f"train.batch_size={train.batch_size}",
        f"lower it, raise train.accumulate={train.accumulate}, or set train.activations=reversible",
    )


def _train(
    job: Job, flow: Glow, group: ProcessGroup, on_epoch: OnEpoch | None, restarted: bool = False
) -> tuple[TrainedGlow, History]:
    parameters, settings, seed = job.parameters, job.parameters.train, job.parameters.seed
    device = use_device(parameters.device)
    flow = flow.to(device)
    if flow.foldable:  # else by its plain layers
        flow.execution = Execution(settings.activations, resolve_precision(settings.precision, device))
    on_device = keeps_on_device(settings.data_on_device, len(job.fit_images) * flow.dimensions, device)
    batch_size = min(settings.batch_size, len(job.fit_images))
    _check_batches(settings, batch_size, group.share.of)
    start = _start(job, restarted) if group.leads else None
    threads = TrainingThreads.of(
        fixed=settings.threads,
        recorded=None if start is None else _recorded_threads(start, device),
        pixels=batch_size * flow.image_shape[1] * flow.image_shape[2],
        measured=device.type == "cpu" and group.share.of == 1,
    )
    facts = _facts(job, flow, start)

    def record_threads(number: int) -> None:
        facts["device"] = describe_device(device, group.share.of, number)
        facts["computed_with"]["threads"] = number

    threads.changed = record_threads
    record_threads(threads.number)
    if start is not None:
        _warn_of_changes(start.facts, facts)
    keeper = None
    if group.leads and job.folder is not None:
        every = Interval.of(settings.checkpoint_every)
        keeper = CheckpointSchedule(TrainingFolder(job.folder), every, settings.keep_checkpoints, facts)

    if group.leads and on_epoch is None:  # a search says what it does itself
        counts = {"training": len(job.fit_images), "validation": len(job.val_images)}
        announce(
            job.fit_images.record,
            parameters,
            flow,
            counts=counts if job.test_images is None else {**counts, "testing": len(job.test_images)},
            batch_size=batch_size,
            scored=evaluation_batch(job.val_images.record.image_format, device),
            processes=group.share.of,
            steps_done=0 if start is None else start.step,
            device=facts["device"],
            folder=job.folder,
        )
    with MetricLogger(job.mlflow_run if group.leads else None) as metric_logger:
        if start is not None:
            metric_logger.catch_up([_logged(row, flow.y_condition) for row in start.facts["history"]["epochs"]])

        def tell(metrics: dict[str, float], step: int) -> bool | None:
            metric_logger.log_metrics(reported(metrics, flow.y_condition), step)
            return on_epoch(metrics, step) if on_epoch is not None else None

        def show(_best: Weights, history: History) -> None:
            epoch = len(history.epochs)
            y = torch.arange(16, device=device) % flow.num_classes if flow.y_condition else None
            samples = draw(flow, 16, parameters.sample.temperature, generator(seed, "progress", 0, device), y)
            tiles = cross_out(flow.dequantization.expand(samples.images).cpu(), samples.broken.cpu())
            figure = square_grid(tiles, f"epoch {epoch}")
            metric_logger.log_figure(figure, f"progress/epoch_{epoch:04d}.png")

        with threads.in_use():
            history = fit(
                flow,
                Batches(
                    job.fit_images,
                    batch_size,
                    device,
                    settings.num_workers,
                    drop_last=True,
                    on_device=on_device,
                    share=group.share,
                ),
                Batches(job.val_images, evaluation_batch(job.val_images.record.image_format, device), device),
                settings,
                seed=seed,
                y_weight=parameters.model.y_weight,
                group=group,
                start=start,
                keeper=keeper,
                threads=threads if device.type == "cpu" else None,
                on_epoch=tell,
                on_save=show,
            )
    return _trained(job, flow, history, facts), history


def _start(job: Job, restarted: bool) -> Checkpoint | None:
    """Where to begin: after a restart of the processes at their own last checkpoint."""
    if job.folder is not None and restarted:
        return TrainingFolder(job.folder).newest()
    return None if job.start is None else read_checkpoint(job.start, check=False)  # it was checked when it was found


def _recorded_threads(start: Checkpoint, device: torch.device) -> int | None:
    """Return the number of threads with which a training on a CPU resumes, to the same bits."""
    on_cpu = device.type == "cpu" and "cpu" in start.facts["device"]
    return start.facts.get("computed_with", {}).get("threads") if on_cpu else None


def _facts(job: Job, flow: Glow, start: Checkpoint | None) -> dict[str, Any]:
    """Return what each checkpoint records of the training beside its state, device and threads."""
    before = [] if start is None else start.facts["resumed_from"]
    began_at = job.parameters.train.checkpoint
    return {
        "identity": identity(job.parameters),
        "train_table": job.fit_images.record.model_dump(mode="json"),
        "num_classes": flow.num_classes,
        "computed_with": {f"train.{name}": getattr(job.parameters.train, name) for name in CHANGE_LAST_BITS},
        "mlflow_run_id": None if job.mlflow_run is None else job.mlflow_run.run_id,
        "provenance": job.provenance.model_dump(),
        "started_from": None if began_at is None else f"{Path(began_at).name} sha256:{sha256(Path(began_at))}",
        "resumed_from": before if start is None or start.path is None else [*before, start.path.name],
    }


def _warn_of_changes(before: dict[str, Any], now: dict[str, Any]) -> None:
    """What else can change the bits of a training that goes on."""

    def made_by(facts: dict[str, Any]) -> dict[str, object]:
        provenance = facts["provenance"]
        versions = {name: provenance["versions"].get(name) for name in ("python", "torch", "numpy")}
        how = {name: value for name, value in facts.get("computed_with", {}).items() if name != "threads"}
        return {"device": facts["device"], "commit": provenance["git_commit"], **versions, **how}

    was, is_ = made_by(before), made_by(now)
    changed = [f"{name} {shown(is_[name])} instead of {shown(was[name])}" for name in was if is_[name] != was[name]]
    if changed:
        logger.warning(
            "This training goes on with another %s: the bits of one that was never stopped are not promised.",
            ", ".join(changed),
        )


def _trained(job: Job, flow: Glow, history: History, facts: dict[str, Any]) -> TrainedGlow:
    return TrainedGlow(flow, _record(job, flow, history, facts), _trained_on(job))


def _trained_on(job: Job) -> NDArray[np.int64] | None:
    """Return content hashes of all images that chose the weights; None if those of the first model are unknown."""
    if job.seen_before is None:
        return None
    return np.unique(np.concatenate([job.fit_images.content_hashes, job.val_images.content_hashes, job.seen_before]))


def _record(job: Job, flow: Glow, history: History, facts: dict[str, Any]) -> ModelRecord:
    record = job.fit_images.record
    return ModelRecord(
        dataset=record.name,
        image_format=record.image_format,
        num_classes=flow.num_classes,
        flow=flow_arguments(job.parameters.model, flow.num_classes),
        parameters=job.parameters.model_dump(),
        train_table=record,
        device=facts["device"],
        epochs=len(history.epochs),
        best_epoch=history.best_epoch,
        steps=history.steps,
        val_bits_per_dim=history.best_val_bits_per_dim if history.best_epoch else None,
        provenance=job.provenance,
        started_from=facts["started_from"],
        resumed_from=facts["resumed_from"],
        test_table=None if job.test_images is None else job.test_images.record,
        diverged=history.diverged,
    )


def _logged(row: dict[str, float], given_class: bool) -> tuple[dict[str, float], int]:
    """Return a row of the history as it was reported to the metric logger."""
    metrics = {name: value for name, value in row.items() if name != "step"}
    return reported(metrics, given_class), int(row["step"])


def _check_same_images(theirs: TableRecord, ours: TableRecord, start: Checkpoint) -> None:
    if theirs.origin == ours.origin:
        return
    before, now = theirs.origin.model_dump(mode="json"), ours.origin.model_dump(mode="json")
    changed = ", ".join(name for name in now if now[name] != before[name])
    raise GlowPipelineError(
        f"{start.path}: its training began with other images than there are now ({changed} changed); bring those back, "
        f"or begin anew with train.resume=never"
    )

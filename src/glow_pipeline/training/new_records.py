"""The records of a training: at its start, and of the model at its end."""

import logging

import torch

from glow_pipeline.device import describe_device, resolve_precision
from glow_pipeline.flow import Glow
from glow_pipeline.parameters import as_typed
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.history import History
from glow_pipeline.training.identity import identity
from glow_pipeline.training.named_model import first_model, traceable
from glow_pipeline.training.new_flow import flow_arguments
from glow_pipeline.training.records import CheckpointRecord, Computation, ModelRecord, PartRecords
from glow_pipeline.training.task import TrainingTask

PRECISION = "precision"  # earlier versions do not record it

logger = logging.getLogger(__name__)


def initial_record(
    task: TrainingTask, flow: Glow, start: Checkpoint | None, device: torch.device, processes: int, threads: int
) -> CheckpointRecord:
    """Return the record of a training before its first step.

    Args:
        task: the training.
        flow: the flow that it trains.
        start: the checkpoint from which it resumes.
        device: the device that computes it.
        processes: number of processes that train together.
        threads: number of threads of each process.
    """
    parameters = task.parameters.train
    start_model = first_model(parameters)
    resumed_from = [] if start is None else start.record.resumed_from
    if start is not None and start.path is not None:
        resumed_from = [*resumed_from, start.path.name]
    return CheckpointRecord(
        identity=identity(task.parameters),
        train_table=task.fit_images.record,
        num_classes=flow.num_classes,
        computation=Computation(
            device=describe_device(device, processes, threads),
            threads=threads,
            activations=parameters.activations,
            compile=parameters.compile,
            accumulate=parameters.accumulate,
            precision=resolve_precision(parameters.precision, device, foldable=flow.foldable),
        ),
        provenance=task.provenance,
        mlflow_run_id=None if task.mlflow_run is None else task.mlflow_run.run_id,
        started_from=None if start_model is None else traceable(start_model),
        resumed_from=resumed_from,
        parts=None if task.parts is None else PartRecords.of(task.parts),
    )


def model_record(task: TrainingTask, flow: Glow, record: CheckpointRecord, history: History) -> ModelRecord:
    """Return the record of a model.

    Args:
        task: the training that made it.
        flow: the trained flow.
        record: record of the training.
        history: history of the training.
    """
    table = task.fit_images.record
    return ModelRecord(
        dataset=table.name,
        image_format=table.image_format,
        num_classes=flow.num_classes,
        flow=flow_arguments(task.parameters.model, flow.num_classes),
        parameters=task.parameters.model_dump(),
        train_table=table,
        device=record.computation.device,
        precision=record.computation.precision,
        epochs=len(history.epochs),
        best_epoch=history.best_epoch,
        steps=history.steps,
        val_bits_per_dim=history.best_val_bits_per_dim if history.best_epoch else None,
        provenance=task.provenance,
        started_from=record.started_from,
        resumed_from=record.resumed_from,
        test_table=None if task.test_images is None else task.test_images.record,
        diverged=history.diverged,
        parts=record.parts,
    )


def warn_of_changes(before: CheckpointRecord, now: CheckpointRecord) -> None:
    """Warn of everything that may change the bits of a resumed training."""
    then, present = _computed_with(before), _computed_with(now)
    changed = [
        f"{name} {as_typed(value)} instead of {as_typed(then[name])}"
        for name, value in present.items()
        if value != then[name] and not (name == PRECISION and then[name] is None)
    ]
    if changed:
        logger.warning(
            "This training resumes with another %s: it may not end in the same bits as without a stop.",
            ", ".join(changed),
        )


def _computed_with(record: CheckpointRecord) -> dict[str, object]:
    """Return everything that the last bits of a training depend on, by its name in the warning."""
    computation, provenance = record.computation, record.provenance
    return {
        "device": computation.device,
        "commit": provenance.git_commit,
        **{name: provenance.versions.get(name) for name in ("python", "torch", "numpy")},
        **{f"train.{name}": getattr(computation, name) for name in ("activations", "compile", "accumulate")},
        PRECISION: computation.precision,
    }

"""Checks of a training before it starts: whether this machine can do it."""

import os

import torch

from glow_pipeline.device import resolve_device, resolve_precision
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import typed_path
from glow_pipeline.parameters import Parameters, TrainParameters
from glow_pipeline.training.distributed.machines import machine_rank, meeting_point, n_processes, n_processes_in_all


def check_training(parameters: Parameters, n_images: int) -> None:
    """Check a training on one machine with so many images.

    Raises:
        GlowPipelineError: the first error.
    """
    device = resolve_device(parameters.device)
    resolve_precision(parameters.train.precision, device)
    check_batch_size(parameters.train, n_processes(parameters.train.devices, device), n_images)


def check_processes(train: TrainParameters, device: torch.device) -> None:
    """Check that there are enough devices, that several machines can find each other, and the size of the batches.

    Raises:
        GlowPipelineError: the first error.
    """
    processes = n_processes_in_all(train, device)
    if train.nodes > 1:
        machine_rank(train.nodes)
        meeting_point(train.rendezvous)
    check_batch_size(train, processes)


def check_stage(stage: str | None) -> None:
    """Check that `train.stage` is a folder of this machine that can be written; make it.

    Raises:
        GlowPipelineError: it is not.
    """
    if stage is None:
        return
    reason = "is an address" if "://" in stage else ""
    try:
        if not reason:
            typed_path(stage).mkdir(parents=True, exist_ok=True)
            reason = "" if os.access(typed_path(stage), os.W_OK) else "cannot be written"
    except OSError as error:
        reason = f"cannot be made ({error.strerror})"
    if reason:
        raise GlowPipelineError(f"train.stage={stage}: {reason}; give a folder on a disk of this machine, or null")


def check_batch_size(train: TrainParameters, processes: int, n_images: int | None = None) -> None:
    """Check that batches can be shared by the processes in `train.accumulate` parts.

    Args:
        train: training parameters, with complete batches.
        processes: number of processes that train together.
        n_images: number of training images, which a batch does not exceed; None: not known yet.

    Raises:
        GlowPipelineError: a part would be empty.
    """
    batch_size = train.batch_size if n_images is None else min(train.batch_size, n_images)
    if batch_size < processes * train.accumulate:
        shared = f"shared by {processes} processes" if processes > 1 else "taken"
        raise GlowPipelineError(
            f"{train.batch_size_as_given}: batches of {batch_size} images cannot be {shared} in "
            f"{train.accumulate} parts; raise it, or lower train.devices or train.accumulate"
        )


def check_shared(train: TrainParameters, processes: int) -> None:
    """Check that there are as many processes as the batches were made for.

    Args:
        train: training parameters, with complete batches.
        processes: number of processes that train together.

    Raises:
        GlowPipelineError: another machine has more or fewer devices than the one that made them.
    """
    per_device = train.batch_size_per_device
    if per_device is not None and train.batch_size != per_device * processes:
        raise GlowPipelineError(
            f"train.batch_size_per_device={per_device}: this machine counts {train.batch_size // per_device} processes "
            f"and {processes} train together; set train.devices to the same number on all machines, or give "
            f"train.batch_size"
        )

"""Checks of one training before it starts: devices, memory, the model that it starts from, and its classes."""

from pathlib import Path

import torch
from kedro.pipeline import Pipeline

from glow_pipeline.device import resolve_device, resolve_precision
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.format import format_range
from glow_pipeline.images.selection import OWN
from glow_pipeline.images.sources.folder import n_classes
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.memory import check_weights
from glow_pipeline.parameters import Parameters, as_typed, check_num_classes, with_complete_batches
from glow_pipeline.training.checks import check_processes, check_stage
from glow_pipeline.training.distributed.machines import n_processes_in_all
from glow_pipeline.training.model_file import read_record
from glow_pipeline.training.named_model import first_model
from glow_pipeline.training.new_flow import check_knows_classes

TRAINED = {"untrained_glow", "search_results"}  # one of them is an output of each pipeline that trains


def with_batches_of_all(parameters: Parameters, pipeline: Pipeline) -> Parameters:
    """Return the parameters with the `train.batch_size` of all processes, of a run that trains.

    Raises:
        GlowPipelineError: this machine has not the devices that `device` and `train.devices` request.
    """
    if parameters.train.batch_size_per_device is None or not TRAINED & pipeline.all_outputs():
        return parameters
    return with_complete_batches(parameters, n_processes_in_all(parameters.train, resolve_device(parameters.device)))


def check_training(parameters: Parameters, device: torch.device) -> None:
    """Check that this machine can do the training, and that it can start from `train.checkpoint`.

    Raises:
        GlowPipelineError: one line about the first thing that is wrong.
    """
    resolve_precision(parameters.train.precision, device)
    check_processes(parameters.train, device)
    check_stage(parameters.train.stage)
    check_weights(parameters.model.size(parameters.image_format.shape))
    if (start := first_model(parameters.train)) is not None:
        _check_checkpoint(start, parameters)


def check_folder_classes(parameters: Parameters, looks: FolderLooks) -> None:
    """Check that the model of this training has all classes of the folder; those of other sources are known already.

    Raises:
        GlowPipelineError: it has fewer.
    """
    if parameters.dataset not in OWN:
        return
    num_classes = num_classes_of(parameters, looks)
    check_num_classes(parameters, num_classes)
    if (start := first_model(parameters.train)) is not None and parameters.model.y_condition:
        check_knows_classes(str(parameters.train.checkpoint), read_record(start).num_classes, num_classes)


def num_classes_of(parameters: Parameters, looks: FolderLooks) -> int:
    """Return the number of classes of the images of `dataset`."""
    if parameters.dataset in OWN:
        return n_classes(parameters.image_selection, looks)
    return source_of(parameters.image_selection).num_classes


def _check_checkpoint(path: Path, parameters: Parameters) -> None:
    """Check that the model that training starts from has the images and the flow that the parameters request."""
    record, typed = read_record(path), f"train.checkpoint={parameters.train.checkpoint}"
    image_format = parameters.image_format
    if record.image_format.shape != image_format.shape or record.image_format.n_bits != image_format.n_bits:
        raise GlowPipelineError(
            f"{typed}: a model of images {record.image_format.key}, but the parameters ask for "
            f"{image_format.key}; set ingest.size, ingest.channels or model.n_bits, or choose another checkpoint"
        )
    for name in ("fit", "background", "range"):
        requested, trained_with = getattr(image_format, name), getattr(record.image_format, name)
        if requested != trained_with and not (name == "range" and requested is None):  # then the model's own is taken
            raise GlowPipelineError(
                f"ingest.{name}={_typed(requested)}: {typed} was trained with {_typed(trained_with)}, "
                f"and would not know its own training images again; set ingest.{name}={_typed(trained_with)}"
            )
    wanted = {**parameters.model.model_dump(), "num_classes": parameters.num_classes}
    if parameters.dataset in OWN and parameters.model.num_classes is None:
        wanted["num_classes"] = record.num_classes  # the folder's own, which is not known yet
    for name, value in record.flow.items():
        if wanted[name] != value:
            raise GlowPipelineError(f"model.{name}={wanted[name]}: {typed} has {value}; set model.{name}={value}")


def _typed(value: object) -> str:
    """Return a setting of the image format as it is typed; a range is a pair of numbers."""
    return format_range(value) if isinstance(value, tuple) else as_typed(value)

"""Summary of a training in a few lines before it starts."""

import logging
from collections.abc import Mapping
from pathlib import Path

import click

from glow_pipeline.counting import counted
from glow_pipeline.device import resolve_precision
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Precision
from glow_pipeline.images.selection import OWN
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.images.table import TableRecord
from glow_pipeline.memory import available_bytes, in_words, training_bytes
from glow_pipeline.parameters import Parameters, TrainParameters
from glow_pipeline.training.task import TrainingTask

logger = logging.getLogger(__name__)


def start_summary(
    record: TableRecord,
    parameters: Parameters,
    *,
    counts: Mapping[str, int],
    n_weights: int,
    batch_size: int,
    steps_done: int,
    device: str,
    precision: Precision,
    memory: int,
    available: int | None,
    folder: Path | None,
) -> list[str]:
    """Return the lines of the summary.

    Args:
        record: record of the training images.
        parameters: all parameters of the command.
        counts: number of images for each purpose.
        n_weights: number of parameters of the flow.
        batch_size: images a step.
        steps_done: steps taken before this command.
        device: the device, in words.
        precision: precision of the coupling networks.
        memory: estimate of the bytes that it takes.
        available: free bytes; None: unknown.
        folder: folder of its checkpoints; None: it writes none.
    """
    model, train = parameters.model, parameters.train
    steps = train.epoch_steps(counts["training"], batch_size)
    found = ", ".join(f"{count:,} for {part}" for part, count in counts.items())
    lines = [
        f"Images: {record.name}: {found}; {counted(record.num_classes, 'class', 'classes')}; {_prepared(record)}.",
        f"Model:  K={model.K}, L={model.L}, hidden_channels={model.hidden_channels}: {n_weights:,} parameters.",
        f"Steps:  {counted(train.n_epochs, 'epoch')} of {counted(steps, 'step')} of "
        f"{batch_size:,} images{_shared(train, batch_size)}: {train.n_epochs * steps:,}"
        + (f", of which {steps_done:,} are done" if steps_done else "")
        + f"; on {device} in {precision}; about {in_words(memory)} of memory"
        + (f", {in_words(available)} are free." if available is not None else "."),
    ]
    if folder is not None:
        lines.append(f"Stop:   Ctrl-C writes a checkpoint, and the same command resumes from it ({folder}).")
    return lines


def announce(task: TrainingTask, flow: Glow, *, scored: int, processes: int, steps_done: int, device: str) -> None:
    """Print the summary on standard error, as the progress bar, and warn where memory does not suffice.

    Args:
        task: the training.
        flow: the flow, on the device that trains it.
        scored: images scored at once to validate an epoch.
        processes: number of processes that train together.
        steps_done: steps taken before this command.
        device: the device, in words.
    """
    train = task.parameters.train
    where = next(flow.parameters()).device
    precision = resolve_precision(train.precision, where, foldable=flow.foldable)
    memory = training_bytes(
        task.parameters.model.size(flow.image_shape),
        batch=task.batch_size,
        at_once=-(-task.batch_size // (processes * train.accumulate)),
        scored=min(scored, len(task.scored_val_images)),
        activations=train.activations,
        network_bytes=2 if precision == "bfloat16" else 4,
        products=where.type == "cuda" and bool(train.compile),
    )
    if where.type == "cpu":
        memory *= processes // train.nodes
    available, folder = available_bytes(where), task.folder
    lines = start_summary(
        task.fit_images.record,
        task.parameters,
        counts=task.n_images,
        n_weights=sum(parameter.numel() for parameter in flow.parameters()),
        batch_size=task.batch_size,
        steps_done=steps_done,
        device=device,
        precision=precision,
        memory=memory,
        available=available,
        folder=folder.relative_to(Path.cwd()) if folder is not None and folder.is_relative_to(Path.cwd()) else folder,
    )
    click.echo("\n".join(lines), err=True)
    if (warning := memory_warning(memory, available, task.parameters)) is not None:
        logger.warning("%s", warning)


def memory_warning(memory: int, available: int | None, parameters: Parameters) -> str | None:
    """Return a line where a training takes more memory than is free."""
    if available is None or memory <= available:
        return None
    train = parameters.train
    return (
        f"This training takes about {in_words(memory)} of memory and {in_words(available)} are free: it may be killed; "
        f"lower {train.batch_size_as_given}, raise train.accumulate={train.accumulate}, or set "
        f"train.activations=reversible (it is {train.activations})"
    )


def _shared(train: TrainParameters, batch_size: int) -> str:
    """Return how the images of a step are shared where the size of each share was given; all images may be fewer."""
    per_device = train.batch_size_per_device
    if per_device is None or batch_size < train.batch_size:
        return ""
    return f" ({per_device:,} in each of {counted(batch_size // per_device, 'process', 'processes')})"


def _prepared(record: TableRecord) -> str:
    """Return the prepared images' shape, and how the source's images were prepared."""
    image_format = record.image_format
    kind = {1: "grey", 3: "RGB"}[image_format.channels]
    described = f"{image_format.height}x{image_format.width} {kind}, {image_format.n_bits} bits"
    how = {"resize": "resized", "pad": "padded"}[image_format.fit]
    if record.image_selection.source in OWN:
        return f"{described}, {how} where they differ"
    size = SOURCES[record.image_selection.source].size
    if size is None:
        return f"{described}, {how}"
    return (
        described
        if size == (image_format.height, image_format.width)
        else f"{described}, {how} from {size[0]}x{size[1]}"
    )

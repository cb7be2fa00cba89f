"""From a trained model to pictures."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.device import use_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.images.classes import position
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.parameters import Parameters, SampleParameters, TrainParameters
from glow_pipeline.plots.grids import cross_out, frame, labelled_grid, square_grid
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import (
    Decoded,
    Endpoints,
    Movement,
    draw,
    interpolate,
    sampling_threads,
    there_and_back,
    vary_temperature,
)
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.unseen import check_known, check_same_images

STILL_ROWS, STILL_COLUMNS = 6, 9

logger = logging.getLogger(__name__)


def draw_endpoints(
    glow_model: TrainedGlow,
    image_selection: ImageSelection,
    image_format: ImageFormat,
    raw_folder: Path,
    parameters: dict[str, Any],
) -> Endpoints:
    """Draw the test images between which `sample.mode=interpolate` moves; other modes need none, and read none."""
    checked = Parameters.model_validate(parameters)
    sample, ingest, seed = checked.sample, checked.ingest, checked.seed
    if sample.mode != "interpolate":
        return Endpoints.none(image_format.shape)
    plan = plan_table(
        image_selection, "test", image_format, raw_folder, ingest.on_unreadable, ingest.num_workers, ingest.max_pixels
    )
    check_same_images(glow_model.record, plan.origin, chosen=checked.stored_model is not None)
    check_known(plan.origin, glow_model.trained_on)
    num_classes = glow_model.flow.num_classes if glow_model.flow.y_condition else None
    images, labels = plan.draw(
        max(2, sample.n // 2 * 2), generator(seed, "pairs"), seen=glow_model.trained_on, num_classes=num_classes
    )
    if len(images) < 2:
        of_classes = "" if num_classes is None else f" of the model's classes 0 to {num_classes - 1}"
        raise GlowPipelineError(
            f"sample.mode=interpolate: {image_selection.key} has {len(images)} test images{of_classes} that the model "
            f"was not trained on, and a path needs two; give more images, or choose another mode"
        )
    return Endpoints.pairs(images, labels)


def sample_images(
    glow_model: TrainedGlow,
    endpoints: Endpoints,
    sample: SampleParameters,
    train: TrainParameters,
    seed: int,
    device: str,
) -> Figure | Movie:
    """Return the picture that `sample.mode` asks for."""
    flow = glow_model.flow.to(use_device(device))
    class_names = glow_model.record.train_table.class_names
    if sample.y is not None:
        sample = sample.model_copy(update={"y": position(sample.y, class_names)})
    pictures = sample.frames if sample.mode != "normal" else flow.num_classes if flow.y_condition else 1
    with (
        memory_in_one_line(f"sample.n={sample.n}", f"lower it, or sample.frames={sample.frames}"),
        sampling_threads(flow, sample.n, pictures, train.threads),
    ):
        match sample.mode:
            case "normal":
                return _normal(flow, glow_model.record.dataset, class_names, sample, seed)
            case "vtemp":
                return _vtemp(flow, glow_model.record.dataset, sample, seed)
            case "interpolate":
                return _interpolate(flow, endpoints, glow_model.record.dataset, sample, seed)


def _normal(flow: Glow, name: str, class_names: list[str], sample: SampleParameters, seed: int) -> Figure:
    device = next(flow.parameters()).device
    random = generator(seed, "sample", 0, device)
    title = f"Glow on {name}, temperature {sample.temperature}"
    labels = [f"class {class_names[k] if k < len(class_names) else k}" for k in range(flow.num_classes)]

    def of_class(k: int | None) -> Decoded:
        y = None if k is None else torch.full((sample.n,), k, device=device)
        return draw(flow, sample.n, sample.temperature, random, y)

    if sample.y is not None or not flow.y_condition:
        drawn = of_class(sample.y)
        title = title if sample.y is None else f"{title}, {labels[sample.y]}"
        return square_grid(_shown(flow, drawn), title + _warning(drawn.broken))
    rows = [of_class(k) for k in range(flow.num_classes)]
    return labelled_grid(
        [_shown(flow, row) for row in rows],
        row_labels=labels,
        title=title + _warning(torch.cat([row.broken for row in rows])),
    )


def _vtemp(flow: Glow, name: str, sample: SampleParameters, seed: int) -> Movie:
    device = next(flow.parameters()).device
    y = _classes_in_turn(flow, sample.n, sample.y, device)

    def moving(frames: int) -> Movement:
        return vary_temperature(flow, sample.n, frames, generator(seed, "sample", 0, device), y)

    steps, columns = _frames_and_columns(moving, sample.frames, STILL_COLUMNS)
    broken = [t for each in (steps, columns) for t, step in zip(each.steps, each.broken, strict=True) if step.any()]
    warning = _warning(_ever_broken(steps, columns), f", the first from T {min(broken):.2f} on" if broken else "")
    images = [_shown(flow, step) for step in columns.decoded]
    still = labelled_grid(
        [torch.stack([image[row] for image in images]) for row in range(min(STILL_ROWS, sample.n))],
        column_labels=[f"T {t:.2f}" for t in columns.steps],
        title=f"Glow on {name}: the same latents at rising temperature{warning}",
    )
    return Movie(still, [frame(_shown(flow, step)) for step in there_and_back(steps.decoded)])


def _interpolate(flow: Glow, endpoints: Endpoints, name: str, sample: SampleParameters, seed: int) -> Movie:
    device = next(flow.parameters()).device
    start, end, y_start, y_end = (tensor.to(device) for tensor in endpoints)
    classes = (y_start, y_end) if flow.y_condition else (None, None)
    noise = torch.rand(start.shape, generator=generator(seed, "interpolate", 0, device), device=device)

    def moving(frames: int) -> Movement:
        return interpolate(flow, start, end, frames, noise, *classes)

    steps, columns = _frames_and_columns(moving, sample.frames, STILL_COLUMNS - 2)
    unbroken = torch.zeros(len(start), dtype=torch.bool)
    shown = [_shown(flow, step) for step in (Decoded(start, unbroken), *columns.decoded, Decoded(end, unbroken))]
    still = labelled_grid(
        [torch.stack([images[row] for images in shown]) for row in range(min(STILL_ROWS, len(start)))],
        column_labels=["real", *[f"{part:.2f}" for part in columns.steps], "real"],
        title=f"Glow on {name}: between real test images{_warning(_ever_broken(steps, columns))}",
    )
    return Movie(still, [frame(_shown(flow, step)) for step in there_and_back(steps.decoded)])


def _frames_and_columns(moving: Callable[[int], Movement], frames: int, columns: int) -> tuple[Movement, Movement]:
    """Return the steps of a movie and those of its still picture: fewer, and computed anew to be evenly spaced."""
    steps = moving(frames)
    return steps, steps if frames <= columns else moving(columns)


def _shown(flow: Glow, decoded: Decoded) -> Tensor:
    """Return 8-bit RGB images on the CPU, crossed out where the flow's inverse overflowed."""
    return cross_out(flow.dequantization.expand(decoded.images).cpu(), decoded.broken.cpu())


def _ever_broken(*movements: Movement) -> Tensor:
    """Return bool (n,): which images could not be computed at some step."""
    return torch.stack([step for movement in movements for step in movement.broken]).any(dim=0)


def _warning(broken: Tensor, where: str = "") -> str:
    """Return what a title says of images that could not be computed, and log it; empty if there is none."""
    if not broken.any():
        return ""
    warning = f"{int(broken.sum())} of {len(broken)} not finite{where}; crossed out"
    logger.warning("Samples: %s. The flow's inverse overflows on them.", warning)
    return f" ({warning})"


def _classes_in_turn(flow: Glow, n: int, y: int | None, device: torch.device) -> Tensor | None:
    if not flow.y_condition:
        return None
    return torch.arange(n, device=device) % flow.num_classes if y is None else torch.full((n,), y, device=device)

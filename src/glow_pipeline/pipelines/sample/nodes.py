"""From a trained model to pictures."""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.device import use_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.planned_table import plan_table
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.parameters import IngestParameters, SampleParameters
from glow_pipeline.plots.grids import frame, labelled_grid, square_grid
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import Endpoints, draw, interpolate, there_and_back, vary_temperature
from glow_pipeline.training.stored import TrainedGlow

STILL_ROWS, STILL_COLUMNS = 6, 9


def draw_endpoints(
    glow_model: TrainedGlow,
    image_set: ImageSet,
    image_spec: ImageSpec,
    raw_folder: Path,
    ingest: IngestParameters,
    sample: SampleParameters,
    seed: int,
) -> Endpoints:
    """Draw the test images between which `sample.mode=interpolate` moves; other modes need none, and read none."""
    if sample.mode != "interpolate":
        return Endpoints.none(image_spec.shape)
    plan = plan_table(image_set, "test", image_spec, raw_folder, ingest.on_unreadable, num_workers=0)
    images, labels = plan.draw(max(2, sample.n // 2 * 2), generator(seed, "pairs"), glow_model.trained_on)
    if len(images) < 2:
        raise GlowPipelineError(
            f"sample.mode=interpolate: {image_set.key} has {len(images)} test images that the model was not trained "
            f"on, and needs two; give more images, or choose another mode"
        )
    return Endpoints.pairs(images, labels)


def sample_images(
    glow_model: TrainedGlow, endpoints: Endpoints, sample: SampleParameters, seed: int, device: str
) -> Figure | Movie:
    """Return the picture that `sample.mode` asks for."""
    flow = glow_model.flow.to(use_device(device))
    match sample.mode:
        case "normal":
            return _normal(flow, glow_model.record.dataset, sample, seed)
        case "vtemp":
            return _vtemp(flow, glow_model.record.dataset, sample, seed)
        case "interpolate":
            return _interpolate(flow, endpoints, glow_model.record.dataset, sample, seed)


def _normal(flow: Glow, name: str, sample: SampleParameters, seed: int) -> Figure:
    device = next(flow.parameters()).device
    random = generator(seed, "sample", 0, device)
    title = f"Glow on {name}, temperature {sample.temperature}"
    if not flow.y_condition:
        return square_grid(_shown(flow, draw(flow, sample.n, sample.temperature, random)), title)

    def of_class(k: int) -> Tensor:
        y = torch.full((sample.n,), k, device=device)
        return _shown(flow, draw(flow, sample.n, sample.temperature, random, y))

    if sample.y is not None:
        return square_grid(of_class(sample.y), f"{title}, class {sample.y}")
    classes = range(flow.num_classes)
    return labelled_grid([of_class(k) for k in classes], row_labels=[f"class {k}" for k in classes], title=title)


def _vtemp(flow: Glow, name: str, sample: SampleParameters, seed: int) -> Movie:
    device = next(flow.parameters()).device
    y = _classes_in_turn(flow, sample.n, sample.y, device)
    moving = vary_temperature(flow, sample.n, sample.frames, generator(seed, "sample", 0, device), y)
    images = [_shown(flow, step) for step in moving.images]
    shown = _evenly(len(images), STILL_COLUMNS)
    still = labelled_grid(
        [torch.stack([images[i][row] for i in shown]) for row in range(min(STILL_ROWS, sample.n))],
        column_labels=[f"T {moving.steps[i]:.2f}" for i in shown],
        title=f"Glow on {name}: the same latents at rising temperature",
    )
    return Movie(still, [frame(step) for step in there_and_back(images)])


def _interpolate(flow: Glow, endpoints: Endpoints, name: str, sample: SampleParameters, seed: int) -> Movie:
    device = next(flow.parameters()).device
    start, end, y_start, y_end = (tensor.to(device) for tensor in endpoints)
    classes = (y_start, y_end) if flow.y_condition else (None, None)
    noise = torch.rand(start.shape, generator=generator(seed, "interpolate", 0, device), device=device)
    moving = interpolate(flow, start, end, sample.frames, noise, *classes)
    steps = [_shown(flow, step) for step in moving.images]
    shown = _evenly(len(steps), STILL_COLUMNS - 2)
    first, last = _shown(flow, start), _shown(flow, end)
    still = labelled_grid(
        [
            torch.stack([first[row], *[steps[i][row] for i in shown], last[row]])
            for row in range(min(STILL_ROWS, len(start)))
        ],
        column_labels=["real", *[f"{moving.steps[i]:.2f}" for i in shown], "real"],
        title=f"Glow on {name}: between real test images",
    )
    return Movie(still, [frame(step) for step in there_and_back(steps)])


def _shown(flow: Glow, images: Tensor) -> Tensor:
    """8-bit images on the CPU."""
    return flow.dequantization.expand(images).cpu()


def _evenly(n: int, wanted: int) -> list[int]:
    """Up to `wanted` indices below n, the first and the last among them, evenly spaced."""
    return torch.linspace(0, n - 1, min(n, wanted)).round().int().tolist()


def _classes_in_turn(flow: Glow, n: int, y: int | None, device: torch.device) -> Tensor | None:
    if not flow.y_condition:
        return None
    return torch.arange(n, device=device) % flow.num_classes if y is None else torch.full((n,), y, device=device)

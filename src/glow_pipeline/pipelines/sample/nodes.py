"""From a trained model to pictures."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.device import use_device
from glow_pipeline.flow import Glow
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import SampleParameters
from glow_pipeline.plots.grids import frame, labelled_grid, square_grid
from glow_pipeline.plots.movie import Movie
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import draw, interpolate, there_and_back, vary_temperature
from glow_pipeline.training.stored import TrainedGlow

STILL_ROWS, STILL_COLUMNS = 6, 9


def sample_images(
    glow_model: TrainedGlow, test_images: ImageTable, sample: SampleParameters, seed: int, device: str
) -> Figure | Movie:
    """The picture that `sample.mode` asks for."""
    flow = glow_model.flow.to(use_device(device))
    match sample.mode:
        case "normal":
            return _normal(flow, glow_model.record.dataset, sample, seed)
        case "vtemp":
            return _vtemp(flow, glow_model.record.dataset, sample, seed)
        case "interpolate":
            return _interpolate(flow, test_images, sample, seed)


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


def _interpolate(flow: Glow, test_images: ImageTable, sample: SampleParameters, seed: int) -> Movie:
    device = next(flow.parameters()).device
    n_pairs = max(1, min(sample.n, len(test_images)) // 2)
    chosen = torch.randperm(len(test_images), generator=generator(seed, "pairs")).numpy()[: 2 * n_pairs]
    images, labels = (tensor.to(device) for tensor in test_images[chosen])
    start, end = images[:n_pairs], images[n_pairs:]
    classes = (labels[:n_pairs], labels[n_pairs:]) if flow.y_condition else (None, None)
    noise = torch.rand(start.shape, generator=generator(seed, "interpolate", 0, device), device=device)
    moving = interpolate(flow, start, end, sample.frames, noise, *classes)
    steps = [_shown(flow, step) for step in moving.images]
    shown = _evenly(len(steps), STILL_COLUMNS - 2)
    first, last = _shown(flow, start), _shown(flow, end)
    still = labelled_grid(
        [
            torch.stack([first[row], *[steps[i][row] for i in shown], last[row]])
            for row in range(min(STILL_ROWS, n_pairs))
        ],
        column_labels=["real", *[f"{moving.steps[i]:.2f}" for i in shown], "real"],
        title=f"Glow on {test_images.record.name}: between real test images",
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

"""From image tables to a trained model."""

from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from glow_pipeline.datasets.checkpoint import CheckpointSlot
from glow_pipeline.device import (
    describe_device,
    keeps_on_device,
    resolve_precision,
    threads_for,
    use_device,
)
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Dequantization, Glow
from glow_pipeline.flow.execution import Execution
from glow_pipeline.images import table
from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.loader import Batches
from glow_pipeline.images.spec import ImageSpec
from glow_pipeline.images.table import ImageTable
from glow_pipeline.metric_logger import log_figure, log_metrics
from glow_pipeline.parameters import IngestParameters, ModelParameters, Parameters, TrainParameters
from glow_pipeline.plots.curves import training_curves
from glow_pipeline.plots.grids import labelled_grid, square_grid
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import draw
from glow_pipeline.training.evaluate import mean_bits_per_dim
from glow_pipeline.training.fit import Weights, fit
from glow_pipeline.training.history import History
from glow_pipeline.training.stored import ModelRecord, Provenance, TrainedGlow, build_flow, read_model

EVALUATION_BATCH = 256


def split_validation(train_images: ImageTable, ingest: IngestParameters, seed: int) -> tuple[ImageTable, ImageTable]:
    """Images to fit and images to validate on, drawn by seed; two views of one table."""
    return table.split_validation(train_images, ingest.val_percentage, generator(seed, "validation"))


def dequantize(train_images: ImageTable) -> tuple[Dequantization, Figure]:
    """The dequantization of this table's images, and a picture of what it does to some of them."""
    dequantization = Dequantization(train_images.record.spec.n_bits)
    images, _ = train_images[:8]
    x, _ = dequantization.dequantize(images, generator(0, "preview"))
    noisy = ((x + 0.5) * 255).to(torch.uint8)
    return dequantization, labelled_grid(
        [dequantization.expand(images), noisy],
        row_labels=[f"{dequantization.n_bits} bits", "+ noise"],
        title=f"{train_images.record.name}, dequantized",
    )


def build_glow(
    image_spec: ImageSpec,
    dequantization: Dequantization,
    train_images: ImageTable,
    model: ModelParameters,
    train: TrainParameters,
    seed: int,
) -> Glow:
    """A Glow with fresh weights, or with those of `train.checkpoint`."""
    if train.checkpoint is not None:
        return read_model(Path(train.checkpoint)).flow
    spec = image_spec.model_copy(update={"n_bits": dequantization.n_bits})
    arguments = flow_arguments(model, model.num_classes or train_images.record.num_classes)
    return build_flow(spec, arguments, generator(seed, "weights"))


def flow_arguments(model: ModelParameters, num_classes: int) -> dict[str, object]:
    """The parameters that say what the flow is, for `Glow` and for a model's record."""
    return {**model.model_dump(exclude={"n_bits", "y_weight"}), "num_classes": num_classes}


def train_glow(
    untrained_glow: Glow,
    fit_images: ImageTable,
    val_images: ImageTable,
    parameters: dict[str, Any],
    checkpoint_slot: CheckpointSlot,
    provenance: Provenance,
) -> tuple[TrainedGlow, History]:
    """Fit the flow; the model that comes out is that of the best epoch.

    Takes all parameters because the model's record keeps them.
    """
    checked = Parameters.model_validate(parameters)
    settings, seed = checked.train, checked.seed
    device = use_device(checked.device)
    flow = untrained_glow.to(device)
    flow.execution = Execution(settings.activations, resolve_precision(settings.precision, device))
    on_device = keeps_on_device(settings.data_on_device, len(fit_images) * flow.dimensions, device)

    def record(history: History) -> ModelRecord:
        return ModelRecord(
            dataset=fit_images.record.name,
            image_spec=fit_images.record.spec,
            num_classes=flow.num_classes,
            flow=flow_arguments(checked.model, flow.num_classes),
            parameters=checked.model_dump(),
            train_table=fit_images.record,
            device=describe_device(device),
            epochs=len(history.epochs),
            best_epoch=history.best_epoch,
            steps=history.steps,
            val_bits_per_dim=history.best_val_bits_per_dim if history.best_epoch else None,
            provenance=provenance,
        )

    def save_progress(best: Weights, history: History) -> None:
        epoch = len(history.epochs)
        y = torch.arange(16, device=device) % flow.num_classes if flow.y_condition else None
        samples = draw(flow, 16, checked.sample.temperature, generator(seed, "progress", 0, device), y)
        figure = square_grid(flow.dequantization.expand(samples).cpu(), f"epoch {epoch}")
        log_figure(figure, f"progress/epoch_{epoch:04d}.png")
        checkpoint_slot.write(record(history), best)

    batch_size = min(settings.batch_size, len(fit_images))
    with threads_for(batch_size * flow.image_shape[1] * flow.image_shape[2]):
        history = fit(
            flow,
            Batches(fit_images, batch_size, device, settings.num_workers, drop_last=True, on_device=on_device),
            Batches(val_images, EVALUATION_BATCH, device),
            settings,
            seed=seed,
            y_weight=checked.model.y_weight,
            on_epoch=log_metrics,
            on_save=save_progress,
        )
        return TrainedGlow(flow, record(history)), history


def evaluate_glow(
    glow_model: TrainedGlow,
    test_images: ImageTable,
    train_history: History,
    train: TrainParameters,
    seed: int,
    device: str,
) -> dict[str, object]:
    """Bits per dimension of the test images under the stored model.

    Raises:
        GlowPipelineError: training ended because it diverged; the last good model has been saved by then.
    """
    record = glow_model.record
    if train_history.diverged:
        raise GlowPipelineError(
            f"train.max_skipped_steps={train.max_skipped_steps}: that many steps in a row, up to step "
            f"{train_history.steps}, had a loss or a gradient that is not finite; the last good model (epoch "
            f"{record.best_epoch}) is saved; lower train.lr={train.lr} or set train.max_grad_norm"
        )
    resolved = use_device(device)
    flow = glow_model.flow.to(resolved)
    batches = Batches(test_images, EVALUATION_BATCH, resolved)
    metrics: dict[str, object] = {
        "test_bits_per_dim": mean_bits_per_dim(flow, batches, seed),
        "best_val_bits_per_dim": record.val_bits_per_dim,
        "best_epoch": record.best_epoch,
        "epochs": record.epochs,
        "images": record.image_spec.key,
        "device": record.device,
    }
    if flow.y_condition:
        metrics["test_bits_per_dim_given_class"] = mean_bits_per_dim(flow, batches, seed, labelled=True)
    return metrics


def plot_training(train_history: History, image_set: ImageSet) -> Figure:
    """Training and validation bits per dimension over the epochs."""
    return training_curves(train_history.epochs, f"Glow on {image_set.key}")

"""Figures of a training, its data and its test images."""

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from glow_pipeline.flow import Dequantization
from glow_pipeline.images.examples import first_of_each_class
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.images.titles import class_title, model_title
from glow_pipeline.parameters import ModelParameters, SampleParameters, TrainParameters
from glow_pipeline.plots.filmstrip import filmstrip
from glow_pipeline.plots.grids import labelled_grid
from glow_pipeline.plots.latents import LatentPanel, latent_histograms
from glow_pipeline.plots.levels import LevelPart, bits_by_level
from glow_pipeline.plots.ranked_images import RankedRow, ranked_images
from glow_pipeline.plots.training import training_curves
from glow_pipeline.randomness import generator
from glow_pipeline.training.history import History
from glow_pipeline.training.latent_histograms import LatentHistogram
from glow_pipeline.training.measurement import ExtremeImages, Measurement

PREVIEWED = 8


def plot_dequantization(train_images: ImageTable) -> Figure:
    """Show what dequantization does to some images of each class."""
    dequantization = Dequantization(train_images.record.image_format.n_bits)
    rows = first_of_each_class(train_images.labels.numpy(), PREVIEWED)
    images, labels = train_images[rows]
    record = train_images.record
    x, _ = dequantization.dequantize(images, generator(0, "preview"))
    noisy = ((x + 0.5) * 255).to(torch.uint8)
    return labelled_grid(
        [dequantization.expand(images), noisy],
        row_labels=[f"{dequantization.n_bits} bits", "+ noise"],
        column_labels=[class_title(k, record.class_names) for k in labels.tolist()] if record.num_classes > 1 else None,
        title=f"{record.name} ({record.image_format.size_and_bits}), dequantized",
    )


def plot_training(
    train_history: History, train_images: ImageTable, model: ModelParameters, train: TrainParameters
) -> Figure:
    """Plot bits per dimension, learning rate, gradient norms and speed over the epochs."""
    return training_curves(
        train_history.epochs,
        _title(train_images.record, "training"),
        given_class=model.y_condition,
        epoch_images=train.epoch_images,
    )


def plot_samples_by_epoch(
    epoch_samples: dict[int, Tensor], train_history: History, train_images: ImageTable, sample: SampleParameters
) -> Figure:
    """Show the same latents decoded after several epochs."""
    subject = f"the same latents by epoch (the best is {train_history.best_epoch})"
    return filmstrip(epoch_samples, _title(train_images.record, subject, sample.temperature))


def plot_bits_by_level(measured_images: Measurement, unseen_test_images: ImageTable) -> Figure:
    """Plot what each level of the flow contributes to the bits per dimension of the test images."""
    parts = measured_images.by_level
    left_out = f", without {parts.n_not_finite:,} not finite" if parts.n_not_finite else ""
    return bits_by_level(
        parts.grey_levels,
        [LevelPart(level.shape, level.latent, level.determinant) for level in parts.levels],
        parts.total,
        _title(unseen_test_images.record, f"bits/dim of {parts.n:,} test images by level{left_out}"),
    )


def plot_likelihood_extremes(measured_images: Measurement, unseen_test_images: ImageTable) -> Figure:
    """Show the test images that the model finds most and least likely."""
    return ranked_images(
        [
            _extreme_row("most likely: fewest bits/dim", measured_images.most_likely, unseen_test_images),
            _extreme_row("least likely: most bits/dim", measured_images.least_likely, unseen_test_images),
        ],
        _title(unseen_test_images.record, "likelihood of test images"),
    )


def plot_latents(measured_images: Measurement, unseen_test_images: ImageTable) -> Figure:
    """Plot histograms of the test images' latents beside N(0, 1), level by level."""
    levels = zip(measured_images.by_level.levels, measured_images.latents, strict=True)
    panels = [_panel(i, level.shape, histogram) for i, (level, histogram) in enumerate(levels, start=1)]
    return latent_histograms(panels, _title(unseen_test_images.record, "latents of test images"))


def _panel(number: int, shape: Sequence[int], histogram: LatentHistogram) -> LatentPanel:
    return LatentPanel(
        f"level {number}: {'x'.join(map(str, shape))}",
        histogram.edges(),
        histogram.counts,
        histogram.below + histogram.above,
        histogram.not_finite,
        histogram.mean,
        histogram.sd,
        histogram.kurtosis,
    )


def _extreme_row(heading: str, extremes: ExtremeImages, table: ImageTable) -> RankedRow:
    """Return a row of these images of the table, each with its bits per dimension, class and file, if it has one."""
    chosen = table.of_rows(extremes.rows)
    images, labels = chosen[:]
    classes, files = chosen.record.class_names, chosen.names
    captions = [
        [
            f"{bits:.3f} bits/dim" if math.isfinite(bits) else "not finite",
            *filter(None, [class_title(label, classes), "" if files is None else files[i]]),
        ]
        for i, (bits, label) in enumerate(zip(extremes.bits_per_dim.tolist(), labels.tolist(), strict=True))
    ]
    expanded = Dequantization(chosen.record.image_format.n_bits).expand(images)
    return RankedRow(heading, list(expanded), captions)


def _title(record: TableRecord, subject: str, temperature: float | None = None) -> str:
    return model_title(record.name, record.image_format.shape, record.image_format.n_bits, subject, temperature)

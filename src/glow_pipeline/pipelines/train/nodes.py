"""From image tables to a trained model."""

import logging
import math
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.density import scoring_batch, scoring_threads
from glow_pipeline.device import use_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content_sets import are_among
from glow_pipeline.images.parts import CalibrationImages, count_copies, split_parts
from glow_pipeline.images.table import ImageTable
from glow_pipeline.parameters import IngestParameters, Parameters, TrainParameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.tracking.runs import current_run
from glow_pipeline.training.history import History, reported
from glow_pipeline.training.kept_samples import read_kept_samples
from glow_pipeline.training.measurement import Measurement, measure_images
from glow_pipeline.training.model_file import TrainedGlow, read_trained_on
from glow_pipeline.training.named_model import first_model
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.resume import ClaimedTraining
from glow_pipeline.training.task import TrainingTask, no_hashes
from glow_pipeline.training.train import train
from glow_pipeline.training.unseen import unseen_images

_LESS_STEEP = "lower train.lr or set train.max_grad_norm"

logger = logging.getLogger(__name__)


def split_images(
    train_images: ImageTable, test_images: ImageTable, ingest: IngestParameters, seed: int
) -> tuple[ImageTable, ImageTable, CalibrationImages, ImageTable, dict[str, int]]:
    """Split into images to fit, to validate on, to calibrate with and to test with, and count exact copies.

    Of a folder no test image is a copy of a training image. The test images of published sets stay as they are, so
    that figures are comparable.
    """
    parts = split_parts(train_images, ingest.val_percentage, ingest.calibration_percentage, seed)
    copies = count_copies(parts, test_images)
    own_folder = test_images.record.image_selection.is_folder
    tested, _ = unseen_images(test_images, train_images.stored_hashes)
    found = {
        "training images that repeat another": copies.train_copies,
        "validation images that are also trained on": copies.val_copies_of_fit,
        "calibration images that are also trained on or validated on (kept)": copies.calibration_copies_of_train,
        f"test images that are training images{' (left out)' if own_folder else ''}": copies.test_copies_of_train,
    }
    if any(found.values()):
        listed = ", ".join(f"{what}: {count:,}" for what, count in found.items() if count)
        logger.info("Exact copies in %s: %s", train_images.record.name, listed)
    return parts.fit, parts.validation, parts.calibration, tested, copies.model_dump()


def build_glow(train_images: ImageTable, parameters: Parameters) -> Glow:
    """Return a Glow with fresh weights, or with those of `train.checkpoint`."""
    record = train_images.record
    return untrained_flow(parameters, record.image_format, record.num_classes)


def train_glow(
    untrained_glow: Glow,
    fit_images: ImageTable,
    val_images: ImageTable,
    calibration_images: CalibrationImages,
    unseen_test_images: ImageTable,
    parameters: Parameters,
    training: ClaimedTraining,
    provenance: Provenance,
) -> tuple[TrainedGlow, History, dict[int, Tensor]]:
    """Fit the flow; return the model of the best epoch, the history, and samples by epoch.

    Takes all parameters, the calibration and the test images because the model's record says what they were.

    Raises:
        GlowPipelineError: no epoch was better than none, so that there is no model to store.
    """
    start = first_model(parameters.train)
    seen_before = no_hashes() if start is None else read_trained_on(start)
    test_images, _ = unseen_images(unseen_test_images, seen_before)  # refuses now what could not be tested later
    _warn_of_seen_calibration(calibration_images, seen_before)
    task = TrainingTask(
        fit_images,
        val_images,
        parameters,
        provenance,
        mlflow_run=current_run(),
        calibration_images=calibration_images,
        test_images=test_images,
        seen_before=seen_before,
    )
    trained, history = train(task.claimed(training), untrained_glow)
    if history.best_epoch == 0:
        raise GlowPipelineError(f"{_why_it_failed(history, parameters.train)}; no model is stored; {_LESS_STEEP}")
    return trained, history, _samples_by_epoch(training, history, parameters)


def _samples_by_epoch(training: ClaimedTraining, history: History, parameters: Parameters) -> dict[int, Tensor]:
    if training.folder is None:
        return {}
    return read_kept_samples(training.folder.path, len(history.epochs), parameters.sample.temperature)


def _warn_of_seen_calibration(images: CalibrationImages, seen_before: NDArray[np.int64] | None) -> None:
    """Warn of calibration images that the model of `train.checkpoint` was trained on: they look too normal."""
    seen = 0 if seen_before is None else int(are_among(images.table.stored_hashes, [seen_before]).sum())
    if seen:
        logger.warning(
            "%d of %d calibration images were trained on by the model of train.checkpoint: their scores in the "
            "detector will be too low.",
            *(seen, len(images)),
        )


def _why_it_failed(history: History, train: TrainParameters) -> str:
    if not history.diverged:
        return f"train.lr={train.lr}: the validation images never had finite bits/dim in {len(history.epochs)} epochs"
    return (
        f"train.max_skipped_steps={train.max_skipped_steps}: that many steps in a row, up to step {history.steps} "
        f"(train.lr={train.lr}), had a loss or a gradient that is not finite"
    )


def evaluate_glow(
    glow_model: TrainedGlow,
    unseen_test_images: ImageTable,
    exact_copies: dict[str, int],
    train_history: History,
    train: TrainParameters,
    seed: int,
    device: str,
) -> tuple[dict[str, object], Measurement]:
    """Measure the stored model on the test images; return its metrics, and what figures show of the same pass.

    Raises:
        GlowPipelineError: training ended because it diverged; the last good model has been saved by then.
    """
    record = glow_model.record
    if train_history.diverged:
        raise GlowPipelineError(
            f"{_why_it_failed(train_history, train)}; the last good model (epoch {record.best_epoch}) is saved; "
            f"{_LESS_STEEP}"
        )
    resolved = use_device(device)
    flow = glow_model.flow.to(resolved)
    # The model of train.checkpoint may have been trained on others than this training.
    test_images, more_copies = unseen_images(unseen_test_images, glow_model.trained_on)
    own_folder = test_images.record.image_selection.is_folder
    batches = Batches(test_images, scoring_batch(flow), resolved)
    with scoring_threads(flow, batches, train.threads):
        measurement = measure_images(flow, batches, seed)
    metrics: dict[str, object] = {
        "test_bits_per_dim": measurement.bits_per_dim,
        **reported({"best_val_bits_per_dim": record.val_bits_per_dim}, flow.y_condition),
        "best_epoch": record.best_epoch,
        "epochs": record.epochs,
        "steps": record.steps,
        "n_test": len(test_images),
        **exact_copies,
        **({"test_copies_of_train": exact_copies["test_copies_of_train"] + (more_copies or 0)} if own_folder else {}),
        "dataset": record.dataset,
        "images": record.image_format.key,
        "device": record.device,
        "precision": record.precision,
    }
    if measurement.bits_per_dim_given_class is not None:
        metrics["test_bits_per_dim_given_class"] = measurement.bits_per_dim_given_class
    _warn_of_test_images(test_images, flow, metrics)
    return metrics, measurement


def _warn_of_test_images(test_images: ImageTable, flow: Glow, metrics: dict[str, object]) -> None:
    """Warn of test images whose effect the figures do not show by themselves."""
    unknown = int((test_images.labels >= flow.num_classes).sum()) if flow.y_condition else 0
    if unknown:
        logger.warning(
            "%d of %d test images are of classes that no training image has; they are scored without their class.",
            *(unknown, len(test_images)),
        )
    if not math.isfinite(cast(float, metrics["test_bits_per_dim"])):
        logger.warning(
            "The bits/dim of the test images are not finite (null in train_metrics): the flow overflows on at least "
            "one of them."
        )

"""From a trained model and images that belong to its detector."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np

from glow_pipeline.counting import counted
from glow_pipeline.density import ModelledBatch, modelled_batches
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content_sets import count_distinct
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.parts import CalibrationImages
from glow_pipeline.images.rows import rows_where
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.split_by_content import draw_by_content
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import TableWriter
from glow_pipeline.outliers.detector import Detector, DetectorRecord, UsedImages
from glow_pipeline.outliers.heat_maps.heat_map import HeatMap, rows_for_heat_map
from glow_pipeline.outliers.kept_images import keep_images
from glow_pipeline.outliers.reasons import Reasons
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.outliers.scoring import Describer, described_batches, fit_scores, scores_of
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.parameters import CalibrateParameters, IngestParameters, OodParameters, Parameters
from glow_pipeline.parameters.ood import one_pass_names
from glow_pipeline.pipelines.planning import plan_images
from glow_pipeline.pipelines.scoring import flow_and_batches
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.parts_of import parts_of
from glow_pipeline.training.unseen import check_known

logger = logging.getLogger(__name__)


def ingest_calibrate_images(
    calibrate_selection: ImageSelection,
    image_format: ImageFormat,
    raw_folder: Path,
    ingest: IngestParameters,
    calibrate: CalibrateParameters,
    folder_looks: FolderLooks,
) -> TableWriter:
    """Plan the table of the model's training images, or of all images in `calibrate.path`."""
    return plan_images(
        calibrate_selection,
        "train" if calibrate.path is None else "test",
        image_format,
        raw_folder,
        ingest,
        folder_looks,
    )


def select_parts(
    glow_model: TrainedGlow, calibrate_images: ImageTable, calibrate: CalibrateParameters, seed: int
) -> tuple[ImageTable, CalibrationImages, int]:
    """Return images to fit scores on, images to calibrate with, and how many were left out.

    Of the model's training images these are its validation and calibration images. Of `calibrate.path` they are halves
    by the images' contents, without copies of images that the model was trained on.

    Raises:
        GlowPipelineError: the training images are others now, or `calibrate.path` has too few images.
    """
    if calibrate.path is None:
        parts = parts_of(glow_model.record, calibrate_images)
        return parts.validation, parts.calibration, 0
    check_known(calibrate_images.record, glow_model.trained_on)
    images = calibrate_images if glow_model.trained_on is None else calibrate_images.without(glow_model.trained_on)
    left_out = len(calibrate_images) - len(images)
    if left_out:
        logger.info("calibrate.path: %s exact copies of training images are left out", f"{left_out:,}")
    n_distinct = count_distinct([images.stored_hashes])
    if n_distinct < 2:
        raise GlowPipelineError(
            f"calibrate.path={calibrate.path}: {counted(n_distinct, 'different image')} that the model was not trained "
            f"on; give it two at least"
        )
    if repeated := len(images) - n_distinct:
        logger.warning(
            "calibrate.path: %s of its %s images are exact copies of others of them; if many are, no false-alarm rate "
            "is guaranteed",
            *(f"{repeated:,}", f"{len(images):,}"),
        )
    fits = draw_by_content(images.stored_hashes, 50, seed, "calibrate")
    calibration = CalibrationImages(images.subset(rows_where(fits, False)))
    return images.subset(rows_where(fits, True)), calibration, left_out


def fit_detector(
    glow_model: TrainedGlow,
    val_images: ImageTable,
    parameters: Parameters,
    provenance: Provenance,
    copies_left_out: int = 0,
) -> Detector:
    """Fit the scores that need one pass of the model and those of `ood.scores` on the validation images.

    The detector has no calibration scores yet.
    """
    with _scoring(glow_model, val_images, parameters) as (flow, batches):
        scores = fit_scores(flow, batches, scores_to_fit(parameters.ood), parameters.seed, parameters.ood.draws)
        heat_map = HeatMap().fit(_some_traced(flow, batches, parameters.seed, "fit heat map"))
    record = DetectorRecord(
        model_sha256=weights_sha256(flow.state_dict()),
        model_session=glow_model.record.provenance.kedro_session,
        validation=UsedImages.of(val_images),
        copies_left_out=copies_left_out,
        seed=parameters.seed,
        draws=parameters.ood.draws,
        codecs=codec_versions(),
        parameters=parameters.model_dump(),
        provenance=provenance,
    )
    return Detector(
        {score.name: score for score in scores},
        {},
        record,
        validation_hashes=np.sort(val_images.content_hashes),
        heat_map=heat_map,
    )


def calibrate_detector(
    glow_model: TrainedGlow, fitted_detector: Detector, calibration_images: CalibrationImages, parameters: Parameters
) -> Detector:
    """Add what a detector learns from calibration images, of which there may be none: scores, scales, some pixels."""
    table, scores, seed = calibration_images.table, list(fitted_detector.scores.values()), parameters.seed
    values: dict[str, list[Numbers]] = {score.name: [] for score in scores}
    statistics: list[Numbers] = []
    with _scoring(glow_model, table, parameters) as (flow, batches):
        describers: list[Describer] = [*scores, Reasons()]
        title = f"calibrate with {table.record.name}"
        for described in described_batches(flow, batches, describers, seed, parameters.ood.draws, title):
            statistics.append(described[Reasons.name])
            for score in scores:
                values[score.name].append(scores_of(score, described[score.name]))
        heat_map = fitted_detector.heat_map and fitted_detector.heat_map.calibrate(
            _some_traced(flow, batches, seed, "calibrate heat map")
        )
    return replace(
        fitted_detector,
        calibration={name: np.sort(np.concatenate([np.empty(0), *parts])) for name, parts in values.items()},
        calibration_hashes=np.sort(table.content_hashes),
        heat_map=heat_map,
        reasons=Reasons().calibrate(np.concatenate(statistics)) if statistics else Reasons(),
        kept_images=keep_images(table, parameters.calibrate.kept_images, seed),
        record=fitted_detector.record.model_copy(update={"calibration": UsedImages.of(table)}),
    )


def scores_to_fit(ood: OodParameters) -> list[Score]:
    """Return the scores of a detector: all that need one pass of the model, and those of `ood.scores`.

    Those that need other models are not fitted, and their values would depend on which models these are.
    """
    names = dict.fromkeys([*one_pass_names(), *ood.score_names])
    return [SCORES[name] for name in names if SCORES[name].needs is None]


def _some_traced(flow: Glow, batches: Batches, seed: int, description: str) -> Iterator[ModelledBatch]:
    some = batches.table.subset(rows_for_heat_map(len(batches.table)))
    return modelled_batches(flow, Batches(some, batches.batch_size, batches.device), seed, description, traces=True)


def _scoring(
    model: TrainedGlow, images: ImageTable, parameters: Parameters
) -> AbstractContextManager[tuple[Glow, Batches]]:
    # No more memory than the training, which this must not fail, needed for its evaluation.
    return flow_and_batches(
        model, images, parameters.ood, parameters.train, parameters.device, at_most_as_in_training=True
    )

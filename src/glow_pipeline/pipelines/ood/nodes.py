"""From a trained model and two sets of images to scores and metrics."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glow_pipeline.device import describe_device, resolve_device
from glow_pipeline.images.content_sets import distinct
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.groups import metrics_of_groups, score_groups
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.score_metrics import metrics_of_table
from glow_pipeline.outliers.score_table import MOST_IN_MEMORY, BothSets, ScoreTable
from glow_pipeline.outliers.scores.group_score import GroupScore
from glow_pipeline.parameters import OodParameters, TrainParameters, WorkersParameters
from glow_pipeline.pipelines.ood.stored_scores import check_columns, requested_scores
from glow_pipeline.pipelines.scoring import carry_out, flow_and_batches, scoring_work
from glow_pipeline.stores import Place, store_at
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.other_models import check_other_models, find_other_models, read_other_models
from glow_pipeline.training.unseen import check_same_images, unseen_images
from glow_pipeline.workers.array import let_one_continue


def select_in_images(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    other_models: OtherModels,
    test_images: ImageTable,
    parameters: dict[str, Any],
) -> tuple[ImageTable, dict[str, object]]:
    """Return the test images that no model or detector knows, and facts of them and the models for the metrics."""
    check_same_images(glow_model.record, test_images.record, chosen=parameters["stored_model"] is not None)
    images, copies = unseen_images(test_images, _seen(glow_model, glow_detector, other_models))
    return images, {
        "in_copies_of_train": copies,
        "in_dataset": glow_model.record.dataset,
        "model_session": glow_model.record.provenance.kedro_session,
        "detector_session": glow_detector.record.version,
        "n_validation": glow_detector.record.n_validation,
        "n_calibration": glow_detector.record.n_calibration,
        **other_models.record(),
    }


def select_out_images(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    other_models: OtherModels,
    out_images: ImageTable,
    in_images: ImageTable,
) -> tuple[ImageTable, dict[str, object]]:
    """Return the outliers that are neither training nor in-distribution images, and facts of them for the metrics."""
    unseen, copies = out_images, None
    if glow_model.trained_on is not None or glow_model.record.train_table.image_selection.is_folder:
        unseen, copies = unseen_images(out_images, _seen(glow_model, glow_detector, other_models))
    images, copies_of_in = unseen_images(unseen, in_images.stored_hashes)
    return images, {
        "out_copies_of_train": copies,
        "out_copies_of_in": copies_of_in,
        "out_dataset": out_images.record.name,
        # Both sets came to this shape by images.preparation.prepare.
        "images": out_images.record.image_format.key,
    }


def _seen(model: TrainedGlow, detector: Detector, other_models: OtherModels) -> NDArray[np.int64] | None:
    """Return the content hashes of all images that models and detector know; None: those of the model are unknown."""
    seen = detector.seen_with(model.not_for_testing)
    return None if seen is None else distinct([seen, other_models.trained_on])


def load_other_models(glow_model: TrainedGlow, model_folder: Path, ood: OodParameters) -> OtherModels:
    """Return the models that the requested scores need beside the scored one."""
    paths = find_other_models(model_folder, ood)
    check_other_models(paths, glow_model.record)
    return read_other_models(paths)


def score_images(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    other_models: OtherModels,
    in_images: ImageTable,
    unseen_out_images: ImageTable,
    ood_progress: Place,
    ood: OodParameters,
    train: TrainParameters,
    seed: int,
    device: str,
    workers: WorkersParameters,
) -> tuple[pd.DataFrame | ScoreTable, pd.DataFrame | ScoreTable]:
    """Return one row an image of both sets: its set, its file if it has one of its own, its label, and each score.

    Files that could not be read follow, without a score and with the reason.

    Raises:
        GlowPipelineError: the detector is of another model, or a score is not fitted.
        HelperFinished: this command has done its share, and parts of others are missing or another one continues.
    """
    tables = [in_images, unseen_out_images]
    work = scoring_work(
        glow_model, glow_detector, other_models, tables, ood_progress, ood, train, seed, device, workers
    )
    inside, outside = carry_out(work, ood_progress, ood.devices, workers)
    if workers.engine == "array":
        let_one_continue(store_at(ood_progress), work.fingerprint.key, work.title, workers.of)
    return inside, outside


def judge_groups(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    in_images: ImageTable,
    unseen_out_images: ImageTable,
    ood: OodParameters,
    train: TrainParameters,
    seed: int,
    device: str,
    in_scores: pd.DataFrame | ScoreTable,  # noqa: ARG001
) -> dict[str, object]:
    """Return the metrics of groups of `ood.group_size` images, in one more pass over both sets; none without groups.

    It takes `in_scores` to run after `score_images`: of several commands that share the scores, one makes this pass.
    """
    if not ood.group_score_names:
        return {}
    glow_detector.check_model(weights_sha256(glow_model.flow.state_dict()))
    scores = [cast(GroupScore, score) for score in glow_detector.requested(ood.group_score_names)]
    by_set = []
    for images in (in_images, unseen_out_images):
        with flow_and_batches(glow_model, images, ood, train, device) as (flow, batches):
            by_set.append(score_groups(flow, batches, scores, ood.group_size, seed, ood.draws))
    return metrics_of_groups(scores, by_set[0], by_set[1], ood.group_size, seed)


def gather_scores(
    in_scores: pd.DataFrame | ScoreTable, out_scores: pd.DataFrame | ScoreTable
) -> pd.DataFrame | ScoreTable:
    """Return both sets in one table, with out-of-distribution as the positive class; large ones are read in pieces."""
    both = BothSets(ScoreTable.of(in_scores), ScoreTable.of(out_scores))
    if isinstance(in_scores, ScoreTable) or isinstance(out_scores, ScoreTable) or len(both) > MOST_IN_MEMORY:
        return both
    return pd.concat([in_scores.assign(is_out=False), out_scores.assign(is_out=True)], ignore_index=True)


def measure_detection(
    ood_scores: pd.DataFrame | ScoreTable,
    in_facts: dict[str, object],
    out_facts: dict[str, object],
    ood: OodParameters,
    seed: int,
    device: str,
    group_metrics: dict[str, object] | None = None,
) -> dict[str, object]:
    """Return the metrics of each score with their intervals, and the names and numbers of both sets."""
    scored, scores = ScoreTable.of(ood_scores), requested_scores(ood)
    check_columns(scored, scores)
    return {
        **metrics_of_table(scores, scored, ood.bootstrap, seed),
        **in_facts,
        **out_facts,
        **(group_metrics or {}),
        "device": describe_device(resolve_device(device)),
    }

"""From a trained model and two sets of images to scores, metrics and figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from glow_pipeline.device import describe_device, resolve_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Dequantization
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.groups import metrics_of_groups, score_groups
from glow_pipeline.outliers.metrics import roc_points
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.ranks import images_to_show, ranks
from glow_pipeline.outliers.report import MAIN, REFERENCES, compared_with, metric_name, score_metrics, scores_in
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scores.group_score import GroupScore
from glow_pipeline.outliers.scores.registry import UNREADABLE
from glow_pipeline.outliers.scoring import score_table
from glow_pipeline.parameters import OodParameters, TrainParameters
from glow_pipeline.pipelines.scoring import flow_and_batches
from glow_pipeline.plots.curves import roc_figure
from glow_pipeline.plots.histograms import Joint, score_histograms
from glow_pipeline.plots.ranked_images import RankedRow, ranked_images
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.other_models import check_other_models, find_other_models, read_other_models
from glow_pipeline.training.unseen import check_same_images, unseen_images

IMAGES_A_ROW = 8


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
    images, copies_of_in = unseen_images(unseen, in_images.content_hashes)
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
    return None if seen is None else np.union1d(seen, other_models.trained_on)


def load_other_models(glow_model: TrainedGlow, model_folder: Path, ood: OodParameters) -> OtherModels:
    """Return the models that the requested scores need beside the scored one."""
    paths = find_other_models(model_folder, ood)
    check_other_models(paths, glow_model.record)
    return read_other_models(paths)


def score_images(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    other_models: OtherModels,
    images: ImageTable,
    ood: OodParameters,
    train: TrainParameters,
    seed: int,
    device: str,
) -> pd.DataFrame:
    """Return one row an image: its set, its file if it has one of its own, its label, a column for each score.

    Files that could not be read follow, without a score and with the reason.

    Raises:
        GlowPipelineError: the detector is of another model, or a score is not fitted.
    """
    glow_detector.check_model(weights_sha256(glow_model.flow.state_dict()))
    requested = glow_detector.requested(ood.score_names)
    with (
        flow_and_batches(glow_model, images, ood, train, device) as (flow, batches),
        other_models.on(batches.device) as others,
    ):
        scores = [score.with_models(others) for score in requested]
        values = score_table(flow, batches, scores, seed, ood.draws)
    record = images.record
    scored = pd.DataFrame(
        {
            "source": record.name,
            "split": record.split,
            "index": pd.array(images.rows, dtype="Int64"),  # in the table, whatever was left out of it
            "file": images.names,
            "label": pd.array(images.labels.numpy(), dtype="Int64"),
            **values,
            UNREADABLE: None,
        }
    )
    unreadable = {"file": list(record.unreadable), UNREADABLE: list(record.unreadable.values())}
    left_out = pd.DataFrame(unreadable).assign(source=record.name, split=record.split)
    return pd.concat([scored, left_out], ignore_index=True) if record.unreadable else scored


def judge_groups(
    glow_model: TrainedGlow,
    glow_detector: Detector,
    in_images: ImageTable,
    unseen_out_images: ImageTable,
    ood: OodParameters,
    train: TrainParameters,
    seed: int,
    device: str,
) -> dict[str, object]:
    """Return the metrics of groups of `ood.group_size` images, in one more pass over both sets; none without groups."""
    if not ood.group_score_names:
        return {}
    glow_detector.check_model(weights_sha256(glow_model.flow.state_dict()))
    scores = [cast(GroupScore, score) for score in glow_detector.requested(ood.group_score_names)]
    by_set = []
    for images in (in_images, unseen_out_images):
        with flow_and_batches(glow_model, images, ood, train, device) as (flow, batches):
            by_set.append(score_groups(flow, batches, scores, ood.group_size, seed, ood.draws))
    return metrics_of_groups(scores, by_set[0], by_set[1], ood.group_size, seed)


def gather_scores(in_scores: pd.DataFrame, out_scores: pd.DataFrame) -> pd.DataFrame:
    """Return both sets in one table, with out-of-distribution as the positive class."""
    return pd.concat([in_scores.assign(is_out=False), out_scores.assign(is_out=True)], ignore_index=True)


def measure_detection(
    ood_scores: pd.DataFrame,
    in_facts: dict[str, object],
    out_facts: dict[str, object],
    ood: OodParameters,
    seed: int,
    device: str,
    group_metrics: dict[str, object] | None = None,
) -> dict[str, object]:
    """Return the metrics of each score with their intervals, and the names and numbers of both sets."""
    scored = _scored(ood_scores)
    is_out = scored["is_out"].to_numpy(dtype=bool)
    scores = _requested(ood)
    _check_columns(scored, scores)
    values = {score.column: scored[score.column].to_numpy() for score in scores}
    return {
        **score_metrics(scores, values, is_out, ood.bootstrap, seed),
        "n_in": int((~is_out).sum()),
        "n_out": int(is_out.sum()),
        **in_facts,
        **out_facts,
        **(group_metrics or {}),
        "device": describe_device(resolve_device(device)),
    }


def plot_detection(ood_scores: pd.DataFrame, ood_metrics: dict[str, Any]) -> tuple[Figure, Figure]:
    """Draw histograms of all scores, with NLL against compressed bits where both are there, and the ROC curves."""
    scored, scores = _scored(ood_scores), _measured(ood_scores, ood_metrics)
    is_out = scored["is_out"].to_numpy(dtype=bool)
    title = _title(scored)
    histograms = {score.label: _by_set(scored, score) for score in scores}
    by_name = {score.name: score for score in scores}
    joint = None
    if all(name in by_name for name in REFERENCES):
        x, y = (by_name[name] for name in REFERENCES)
        joint = Joint(x.label, _by_set(scored, x), y.label, _by_set(scored, y))
    curves = {}
    for score in sorted(scores, key=lambda score: -_auroc(score, ood_metrics)):
        auroc = f"AUROC {_auroc(score, ood_metrics):.4f}"
        name = auroc if len(scores) == 1 else f"{score.name}, {auroc}"
        curves[name] = roc_points(is_out, scored[score.column].to_numpy())
    return score_histograms(histograms, title, joint), roc_figure(curves, title)


def plot_ranked_images(
    ood_scores: pd.DataFrame, in_images: ImageTable, unseen_out_images: ImageTable, ood: OodParameters
) -> Figure:
    """Draw the images that the main score gets wrong, and those on which it and a second score disagree most."""
    scored, scores = _scored(ood_scores), _requested(ood)
    _check_columns(scored, scores)
    is_out = scored["is_out"].to_numpy(dtype=bool)
    shown = [scores[0], *compared_with(scores)[:1]]
    rank = {score.name: ranks(scored[score.column].to_numpy()) for score in shown}
    # In the order of `gather_scores`.
    places = [*_places(scored[~is_out], in_images), *_places(scored[is_out], unseen_out_images)]
    names = scored["file"].where(scored["file"].notna(), scored["source"] + " " + scored["index"].astype(str))
    rows = [
        RankedRow(
            heading,
            [_eight_bits(*places[i]) for i in chosen],
            [[str(names.iloc[i]), *(f"{name} {place[i]:,}" for name, place in rank.items())] for i in chosen],
        )
        for heading, chosen in images_to_show(rank, is_out, IMAGES_A_ROW).items()
    ]
    return ranked_images(rows, f"{_title(scored)}: ranks among {len(scored):,} images, 1 is the most outlying")


def _places(scored: pd.DataFrame, table: ImageTable) -> list[tuple[ImageTable, int]]:
    """Return the table and the position in it of each row's image.

    Raises:
        GlowPipelineError: the rows are of other images than the table.
    """
    if not np.array_equal(scored["index"].to_numpy(dtype=np.int64), table.rows):
        raise GlowPipelineError(
            f"the stored ood_scores are not of the images of {table.record.name}; let score_in_images, "
            f"score_out_images and gather_scores run too"
        )
    return [(table, position) for position in range(len(table))]


def _eight_bits(table: ImageTable, position: int) -> Tensor:
    """Return an image of a table with 8 bits, uint8 (C, H, W)."""
    images, _ = table[np.array([position])]
    return Dequantization(table.record.image_format.n_bits).expand(images)[0]


def _measured(ood_scores: pd.DataFrame, ood_metrics: dict[str, Any]) -> list[Score]:
    """Return the scores that these metrics are of, the main one first; their columns are in the table."""
    scores = scores_in(ood_metrics)
    if not scores:
        raise GlowPipelineError(
            f"ood_metrics: its score {ood_metrics.get(MAIN)} is not registered; import its file in settings.py again, "
            f"or let all nodes of ood run"
        )
    _check_columns(ood_scores, scores)
    return scores


def _auroc(score: Score, ood_metrics: dict[str, Any]) -> float:
    return float(ood_metrics[metric_name("auroc", score, scores_in(ood_metrics)[0])])


def _by_set(scored: pd.DataFrame, score: Score) -> dict[str, NDArray[np.float64]]:
    """Return a score's values on each set by its name, the in-distribution images first."""
    names = _names_of_sets(scored)
    return {name: scored.loc[scored["is_out"] == out, score.column].to_numpy() for out, name in names.items()}


def _title(scored: pd.DataFrame) -> str:
    return " vs ".join(_names_of_sets(scored).values())


def _names_of_sets(scored: pd.DataFrame) -> dict[bool, str]:
    """Return the names of both sets, by whether they are the outliers; they differ also where the images are equal."""
    inside, outside = (str(scored.loc[scored["is_out"] == out, "source"].iloc[0]) for out in (False, True))
    return {False: inside, True: outside if outside != inside else f"{outside} (as outliers)"}


def _requested(ood: OodParameters) -> list[Score]:
    """Return the scores to compute, the main one first."""
    return [SCORES[name] for name in ood.score_names]


def _check_columns(scored: pd.DataFrame, scores: Sequence[Score]) -> None:
    """Check that a table, which may be of an earlier command, has these scores."""
    for score in scores:
        if score.column not in scored:
            raise GlowPipelineError(
                f"ood.scores={score.name}: the stored ood_scores have no {score.column}; "
                f"let score_in_images, score_out_images and gather_scores run too"
            )


def _scored(ood_scores: pd.DataFrame) -> pd.DataFrame:
    return ood_scores[ood_scores[UNREADABLE].isna()]

"""From a trained model and two sets of images to scores, metrics and figures."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from glow_pipeline.density import scoring_threads
from glow_pipeline.device import describe_device, resolve_device, use_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.outliers.metrics import roc_points
from glow_pipeline.outliers.report import MAIN, metric_name, score_metrics, scores_in
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scoring import fit_scores, score_table
from glow_pipeline.parameters import OodParameters, TrainParameters
from glow_pipeline.plots.curves import roc_figure
from glow_pipeline.plots.histograms import score_histograms
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.unseen import check_same_images, unseen_images

UNREADABLE = "unreadable"  # column: why a file has no score


def select_in_images(
    glow_model: TrainedGlow, test_images: ImageTable, parameters: dict[str, Any]
) -> tuple[ImageTable, dict[str, object]]:
    """Return the test images that the model was not trained on, and facts of them and the model for the metrics."""
    check_same_images(glow_model.record, test_images.record, chosen=parameters["stored_model"] is not None)
    images, copies = unseen_images(test_images, glow_model.not_for_testing)
    return images, {
        "in_copies_of_train": copies,
        "in_dataset": glow_model.record.dataset,
        "model_session": glow_model.record.provenance.kedro_session,
    }


def select_out_images(
    glow_model: TrainedGlow, out_images: ImageTable, in_images: ImageTable
) -> tuple[ImageTable, dict[str, object]]:
    """Return the outliers that are neither training nor in-distribution images, and facts of them for the metrics."""
    unseen, copies = out_images, None
    if glow_model.trained_on is not None or glow_model.record.train_table.image_selection.is_folder:
        unseen, copies = unseen_images(out_images, glow_model.not_for_testing)
    images, copies_of_in = unseen_images(unseen, in_images.content_hashes)
    return images, {
        "out_copies_of_train": copies,
        "out_copies_of_in": copies_of_in,
        "out_dataset": out_images.record.name,
        # Both sets came to this shape by images.preparation.prepare.
        "images": out_images.record.image_format.key,
    }


def score_images(
    glow_model: TrainedGlow, images: ImageTable, ood: OodParameters, train: TrainParameters, seed: int, device: str
) -> pd.DataFrame:
    """Return one row an image: its set, its file if it has one of its own, its label, a column for each score.

    Files that could not be read follow, without a score and with the reason.
    """
    resolved = use_device(device)
    flow, batches = glow_model.flow.to(resolved), Batches(images, ood.batch_size, resolved)
    with (
        memory_in_one_line(f"ood.batch_size={ood.batch_size}", "lower it"),
        scoring_threads(flow, batches, train.threads),
    ):
        scores = fit_scores(flow, None, _requested(ood), seed)
        values = score_table(flow, batches, scores, seed)
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


def gather_scores(in_scores: pd.DataFrame, out_scores: pd.DataFrame) -> pd.DataFrame:
    """Return both sets in one table, with out-of-distribution as the positive class."""
    return pd.concat([in_scores.assign(is_out=False), out_scores.assign(is_out=True)], ignore_index=True)


def measure_detection(
    ood_scores: pd.DataFrame,
    in_facts: dict[str, object],
    out_facts: dict[str, object],
    ood: OodParameters,
    device: str,
) -> dict[str, object]:
    """Return AUROC, AUPR and FPR at 95% TPR of each score, with the names and numbers of both sets."""
    scored = _scored(ood_scores)
    is_out = scored["is_out"].to_numpy(dtype=bool)
    scores = _requested(ood)
    _check_columns(scored, scores)
    return {
        **score_metrics(scores, {score.column: scored[score.column].to_numpy() for score in scores}, is_out),
        "n_in": int((~is_out).sum()),
        "n_out": int(is_out.sum()),
        **in_facts,
        **out_facts,
        "device": describe_device(resolve_device(device)),
    }


def plot_detection(ood_scores: pd.DataFrame, ood_metrics: dict[str, Any]) -> tuple[Figure, Figure]:
    """Draw a histogram of each score, and the ROC curves of all."""
    scored = _scored(ood_scores)
    is_out = scored["is_out"].to_numpy(dtype=bool)
    sets = [(str(source), rows) for source, rows in scored.groupby("source", sort=False)]
    title = " vs ".join(source for source, _ in sets)
    scores = scores_in(ood_metrics)
    if not scores:
        raise GlowPipelineError(
            f"ood_metrics: its score {ood_metrics.get(MAIN)} is not registered; import its file in settings.py again, "
            f"or let all nodes of ood run"
        )
    _check_columns(scored, scores)
    histograms = {score.label: {source: rows[score.column].to_numpy() for source, rows in sets} for score in scores}
    curves = {}
    for score in scores:
        auroc = f"AUROC {ood_metrics[metric_name('auroc', score, scores[0])]:.4f}"
        name = auroc if len(scores) == 1 else f"{score.name}, {auroc}"
        curves[name] = roc_points(is_out, scored[score.column].to_numpy())
    return score_histograms(histograms, title), roc_figure(curves, title)


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

"""From a trained model and two sets of images to scores, metrics and figures."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from glow_pipeline.device import describe_device, resolve_device, use_device
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.outliers.metrics import detection_metrics, finite_mean, roc_points
from glow_pipeline.outliers.nll import nll
from glow_pipeline.parameters import OodParameters, TrainParameters
from glow_pipeline.plots.curves import roc_figure
from glow_pipeline.plots.histograms import score_histogram
from glow_pipeline.training.evaluation import scoring_threads
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.unseen import check_same_images, unseen_images

UNREADABLE = "unreadable"  # column: why a file has no score


def select_in_images(
    glow_model: TrainedGlow, test_images: ImageTable, parameters: dict[str, Any]
) -> tuple[ImageTable, dict[str, int | None]]:
    """Return the test images that the model was not trained on, and how many are copies of training images."""
    check_same_images(glow_model.record, test_images.record, chosen=parameters["stored_model"] is not None)
    images, copies = unseen_images(test_images, glow_model.trained_on)
    return images, {"in_copies_of_train": copies}


def select_out_images(
    glow_model: TrainedGlow, out_images: ImageTable, in_images: ImageTable
) -> tuple[ImageTable, dict[str, int | None]]:
    """Return the outliers that are neither training images nor among the in-distribution ones; and how many are."""
    unseen, copies = out_images, None
    if glow_model.trained_on is not None or glow_model.record.train_table.image_selection.is_folder:
        unseen, copies = unseen_images(out_images, glow_model.trained_on)
    images, of_inside = unseen_images(unseen, in_images.content_hashes)
    return images, {"out_copies_of_train": copies, "out_copies_of_in": of_inside}


def score_images(
    glow_model: TrainedGlow, images: ImageTable, ood: OodParameters, train: TrainParameters, seed: int, device: str
) -> pd.DataFrame:
    """Return one row an image: its set, its file if it has one of its own, its label, its nll in bits per dimension.

    Files that could not be read follow, without a score and with the reason.
    """
    resolved = use_device(device)
    flow, batches = glow_model.flow.to(resolved), Batches(images, ood.batch_size, resolved)
    with (
        memory_in_one_line(f"ood.batch_size={ood.batch_size}", "lower it"),
        scoring_threads(flow, batches, train.threads),
    ):
        scores = nll(flow, batches, seed)
    record = images.record
    scored = pd.DataFrame(
        {
            "source": record.name,
            "split": record.split,
            "index": pd.array(images.rows, dtype="Int64"),  # in the table, whatever was left out of it
            "file": images.names,
            "label": pd.array(images.labels.numpy(), dtype="Int64"),
            "nll_bits_per_dim": scores.numpy(),
            UNREADABLE: None,
        }
    )
    unreadable = {"file": list(record.unreadable), UNREADABLE: list(record.unreadable.values())}
    left_out = pd.DataFrame(unreadable).assign(source=record.name, split=record.split)
    return pd.concat([scored, left_out], ignore_index=True) if record.unreadable else scored


def gather_scores(in_scores: pd.DataFrame, out_scores: pd.DataFrame) -> pd.DataFrame:
    """Both sets in one table, with out-of-distribution as the positive class."""
    return pd.concat([in_scores.assign(is_out=False), out_scores.assign(is_out=True)], ignore_index=True)


def _scored(ood_scores: pd.DataFrame) -> pd.DataFrame:
    return ood_scores[ood_scores[UNREADABLE].isna()]


def measure_detection(
    ood_scores: pd.DataFrame,
    glow_model: TrainedGlow,
    out_images: ImageTable,
    in_copies: dict[str, int | None],
    out_copies: dict[str, int | None],
    device: str,
) -> dict[str, object]:
    """Return AUROC, AUPR and FPR at 95% TPR of the likelihood, with what was compared.

    The two means are of the finite scores alone.
    """
    scored = _scored(ood_scores)
    is_out = scored["is_out"].to_numpy(dtype=bool)
    nll_values = scored["nll_bits_per_dim"].to_numpy()
    (in_mean, in_not_finite), (out_mean, out_not_finite) = map(finite_mean, (nll_values[~is_out], nll_values[is_out]))
    return {
        **detection_metrics(is_out, nll_values),
        "in_bits_per_dim": in_mean,
        "out_bits_per_dim": out_mean,
        "n_not_finite_in": in_not_finite,
        "n_not_finite_out": out_not_finite,
        "n_in": int((~is_out).sum()),
        "n_out": int(is_out.sum()),
        **in_copies,
        **out_copies,
        "in_dataset": glow_model.record.dataset,
        "out_dataset": out_images.record.name,
        # Both sets came to this shape by images.preparation.prepare.
        "images": out_images.record.image_format.key,
        "model_session": glow_model.record.provenance.kedro_session,
        "device": describe_device(resolve_device(device)),
    }


def plot_detection(ood_scores: pd.DataFrame, ood_metrics: dict[str, float]) -> tuple[Figure, Figure]:
    """Histogram of the scores, and the ROC curve."""
    scored = _scored(ood_scores)
    by_set = {str(source): rows["nll_bits_per_dim"].to_numpy() for source, rows in scored.groupby("source", sort=False)}
    title = " vs ".join(by_set)
    fpr, tpr = roc_points(scored["is_out"].to_numpy(dtype=bool), scored["nll_bits_per_dim"].to_numpy())
    return (
        score_histogram(by_set, "negative log-likelihood, bits per dimension", title),
        roc_figure(fpr, tpr, ood_metrics["auroc"], title),
    )

"""From a trained model and two sets of images to scores, metrics and figures."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glow_pipeline.device import describe_device, resolve_device, use_device
from glow_pipeline.images.loader import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.metrics import detection_metrics, roc_points
from glow_pipeline.outliers.nll import nll
from glow_pipeline.parameters import OodParameters
from glow_pipeline.plots.curves import roc_figure
from glow_pipeline.plots.histograms import score_histogram
from glow_pipeline.training.stored import TrainedGlow


def score_images(
    glow_model: TrainedGlow, images: ImageTable, ood: OodParameters, seed: int, device: str
) -> pd.DataFrame:
    """One row an image: its set, its file if it has one of its own, its label, its nll in bits per dimension."""
    resolved = use_device(device)
    scores = nll(glow_model.flow.to(resolved), Batches(images, ood.batch_size, resolved), seed)
    return pd.DataFrame(
        {
            "source": images.record.name,
            "split": images.record.split,
            "index": np.arange(len(images)),
            "file": images.names,
            "label": images.labels.numpy(),
            "nll_bits_per_dim": scores.numpy(),
        }
    )


def gather_scores(in_scores: pd.DataFrame, out_scores: pd.DataFrame) -> pd.DataFrame:
    """Both sets in one table, with out-of-distribution as the positive class."""
    return pd.concat([in_scores.assign(is_out=False), out_scores.assign(is_out=True)], ignore_index=True)


def measure_detection(
    ood_scores: pd.DataFrame, glow_model: TrainedGlow, out_images: ImageTable, device: str
) -> dict[str, object]:
    """AUROC, AUPR and FPR at 95% TPR of the likelihood, with what was compared."""
    is_out = ood_scores["is_out"].to_numpy(dtype=bool)
    nll_values = ood_scores["nll_bits_per_dim"].to_numpy()
    return {
        **detection_metrics(is_out, nll_values),
        "in_bits_per_dim": float(nll_values[~is_out].mean()),
        "out_bits_per_dim": float(nll_values[is_out].mean()),
        "n_in": int((~is_out).sum()),
        "n_out": int(is_out.sum()),
        "in_dataset": glow_model.record.dataset,
        "out_dataset": out_images.record.name,
        # Both sets came to this shape by images.preparation.prepare.
        "images": out_images.record.spec.key,
        "model_session": glow_model.record.provenance.kedro_session,
        "device": describe_device(resolve_device(device)),
    }


def plot_detection(ood_scores: pd.DataFrame, ood_metrics: dict[str, float]) -> tuple[Figure, Figure]:
    """Histogram of the scores, and the ROC curve."""
    by_set = {
        str(source): rows["nll_bits_per_dim"].to_numpy() for source, rows in ood_scores.groupby("source", sort=False)
    }
    title = " vs ".join(by_set)
    fpr, tpr = roc_points(ood_scores["is_out"].to_numpy(dtype=bool), ood_scores["nll_bits_per_dim"].to_numpy())
    return (
        score_histogram(by_set, "negative log-likelihood, bits per dimension", title),
        roc_figure(fpr, tpr, ood_metrics["auroc"], title),
    )

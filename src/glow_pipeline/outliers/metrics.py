"""Metrics of a score that separates outliers, with out-of-distribution as the positive class."""

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError


def detection_metrics(is_out: NDArray[np.bool_], score: NDArray[np.floating]) -> dict[str, float]:
    """Return AUROC, AUPR both ways round, and the false positive rate at 95% true positives.

    Only the order of the scores counts. Infinity is the highest and -infinity the lowest; NaN is as high as infinity.

    Args:
        is_out: (n,), true for the outliers.
        score: (n,), higher for more outlying images.

    Returns:
        auroc; aupr_out, the average precision of finding outliers; aupr_in, of finding the
        in-distribution images by the negated score; fpr_at_95_tpr, the share of in-distribution images that are
        flagged at the first threshold that flags 95% of the outliers.

    Raises:
        GlowPipelineError: all images are of one kind.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve  # takes seconds to import

    if is_out.all() or not is_out.any():
        raise GlowPipelineError(
            f"{np.sum(~is_out)} in-distribution images and {np.sum(is_out)} outliers: detection cannot be measured "
            f"without at least one of each"
        )
    rank = _ranks(score)
    fpr, tpr, _ = roc_curve(is_out, rank, drop_intermediate=False)
    return {
        "auroc": float(roc_auc_score(is_out, rank)),
        "aupr_out": float(average_precision_score(is_out, rank)),
        "aupr_in": float(average_precision_score(~is_out, -rank)),
        "fpr_at_95_tpr": float(fpr[np.argmax(tpr >= 0.95)]),
    }


def roc_points(
    is_out: NDArray[np.bool_], score: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the false and true positive rates of all thresholds, each (n_thresholds,)."""
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(is_out, _ranks(score))
    return fpr, tpr


def finite_mean(score: NDArray[np.floating]) -> tuple[float | None, int]:
    """Return the mean of the finite scores, None if there is none, and the number of the others."""
    finite = score[np.isfinite(score)]
    return float(finite.mean()) if len(finite) else None, len(score) - len(finite)


def _ranks(score: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the rank of each score among the distinct scores, from 0: scikit-learn refuses infinity."""
    return np.unique(np.where(np.isnan(score), np.inf, score), return_inverse=True)[1].astype(np.float64)

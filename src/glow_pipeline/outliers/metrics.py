"""How well a score separates outliers, with out-of-distribution as the positive class."""

import numpy as np
from numpy.typing import NDArray


def detection_metrics(is_out: NDArray[np.bool_], score: NDArray[np.floating]) -> dict[str, float]:
    """AUROC, AUPR both ways round, and the false positive rate at 95% true positives.

    Args:
        is_out: (n,), true for the images that do not belong.
        score: (n,), higher for images that belong less.

    Returns:
        auroc; aupr_out, the average precision of finding outliers; aupr_in, of finding the images that
        belong by the negated score; fpr_at_95_tpr, the share of belonging images that are flagged
        when 95% of the outliers are.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve  # takes seconds to import

    score = _finite(score)
    fpr, tpr, _ = roc_curve(is_out, score, drop_intermediate=False)
    return {
        "auroc": float(roc_auc_score(is_out, score)),
        "aupr_out": float(average_precision_score(is_out, score)),
        "aupr_in": float(average_precision_score(~is_out, -score)),
        "fpr_at_95_tpr": float(fpr[np.argmax(tpr >= 0.95)]),
    }


def roc_points(
    is_out: NDArray[np.bool_], score: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """False and true positive rates of all thresholds, each (n_thresholds,), for a curve."""
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(is_out, _finite(score))
    return fpr, tpr


def _finite(score: NDArray[np.floating]) -> NDArray[np.floating]:
    """Infinity in the place just above all finite scores: only the order counts, and scikit-learn refuses infinity."""
    highest = np.max(score, where=np.isfinite(score), initial=0.0)
    return np.where(np.isposinf(score), highest + 1, score)

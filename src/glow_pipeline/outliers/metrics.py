"""Metrics of a score that separates outliers, with out-of-distribution as the positive class.

All of them depend on the order of the scores alone. Each is computed from two counts for each distinct score, that of
in-distribution images and that of outliers, so a resample (`outliers.bootstrap`) is measured by the same code.
"""

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.errors import GlowPipelineError

METRICS = ("auroc", "aupr_out", "aupr_in", "fpr_at_95_tpr", "detection_error")


def detection_metrics(is_out: NDArray[np.bool_], score: NDArray[np.floating]) -> dict[str, float]:
    """Return the metrics of `METRICS`.

    Infinity is the highest and -infinity the lowest score; NaN is as high as infinity. Equal scores are flagged
    together.

    Args:
        is_out: (n,), true for the outliers.
        score: (n,), higher for more outlying images.

    Returns:
        auroc: how often an outlier scores higher than an in-distribution image; a tie counts half.
        aupr_out: area under the precision-recall curve of finding outliers, by the trapezoid rule from recall 0 at
            precision 1, as OpenOOD 1.5 and pytorch-ood 0.4 compute it. It is not average precision, which sums steps.
        aupr_in: the same of finding the in-distribution images by the negated score.
        fpr_at_95_tpr: share of in-distribution images that are flagged at the first threshold, from the highest,
            that flags at least 95% of the outliers.
        detection_error: probability of an error at that threshold when both kinds are equally frequent,
            (1 - TPR + FPR) / 2 (Liang et al. 2018, arXiv:1706.02690).

    Raises:
        GlowPipelineError: all images are of one kind.
    """
    check_both_kinds(is_out)
    return metrics_of_counts(*_counts(is_out, score))


def metrics_of_counts(
    n_in: NDArray[np.int64], n_out: NDArray[np.int64], scratch: NDArray[np.float64] | None = None
) -> dict[str, float]:
    """Return the metrics of `METRICS`, computed from counts.

    Args:
        n_in: (k,), in-distribution images with each of k scores, from the highest score; may be 0 for some.
        n_out: (k,), outliers with each of these scores.
        scratch: (6, k), is overwritten. Many measurements share one array, because allocating it each time takes as
            long as the arithmetic.
    """
    at_in, at_out, flagged_in, flagged_out, flagged, precision = (
        np.empty((6, len(n_in))) if scratch is None else scratch
    )
    at_in[:], at_out[:] = n_in, n_out  # as floats, exact up to 2**53
    np.cumsum(at_in, out=flagged_in)
    np.cumsum(at_out, out=flagged_out)
    np.add(flagged_in, flagged_out, out=flagged)
    total_in, total_out = float(flagged_in[-1]), float(flagged_out[-1])
    # The number of outliers to find is rounded up in integers: 0.95 has no exact floating-point number.
    threshold = int(np.searchsorted(flagged_out, -(-95 * int(total_out) // 100)))
    fpr, tpr = float(flagged_in[threshold]) / total_in, float(flagged_out[threshold]) / total_out
    first, last = (int(np.searchsorted(flagged, number)) for number in (1, total_in + total_out))

    some = slice(first, None)  # the thresholds that flag an image
    np.divide(flagged_out[some], flagged[some], out=precision[some])
    aupr_out = _trapezoids(at_out[some], precision[some]) / total_out

    # The same for in-distribution images, from the lowest score: images at or below each threshold, of both kinds.
    lower_in = np.subtract(total_in, flagged_in, out=flagged_in)
    twice_pairs = _dot(at_out, lower_in)
    not_higher_in = np.add(lower_in, at_in, out=flagged_in)
    twice_pairs += _dot(at_out, not_higher_in)  # a pair in the right order counts twice, a tie once
    not_higher = np.subtract(total_in + total_out, flagged, out=flagged)
    not_higher += at_in
    not_higher += at_out
    some = slice(None, last + 1)
    np.divide(not_higher_in[some], not_higher[some], out=precision[some])
    aupr_in = _trapezoids(at_in[some][::-1], precision[some][::-1]) / total_in
    return {
        "auroc": twice_pairs / (2 * total_in * total_out),
        "aupr_out": aupr_out,
        "aupr_in": aupr_in,
        "fpr_at_95_tpr": fpr,
        "detection_error": (1 - tpr + fpr) / 2,
    }


def roc_points(
    is_out: NDArray[np.bool_], score: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the false and true positive rates of all thresholds, from (0, 0) to (1, 1), each (k + 1,)."""
    n_in, n_out = _counts(is_out, score)
    flagged_in, flagged_out = (np.concatenate([[0], counts.cumsum()]) for counts in (n_in, n_out))
    return flagged_in / flagged_in[-1], flagged_out / flagged_out[-1]


def places(score: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the place of each score among the distinct scores, (n,): 0 is the highest; NaN is as high as infinity."""
    return np.unique(-ordered(score), return_inverse=True)[1].astype(np.int64)


def ordered(score: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return scores as they count: NaN is as high as infinity."""
    return np.where(np.isnan(score), np.inf, score)


def check_both_kinds(is_out: NDArray[np.bool_]) -> None:
    """Check that there are outliers and in-distribution images."""
    check_numbers(int(np.sum(~is_out)), int(np.sum(is_out)))


def check_numbers(n_in: int, n_out: int) -> None:
    """Check that there are outliers and in-distribution images.

    Raises:
        GlowPipelineError: there are none of one kind.
    """
    if not n_in or not n_out:
        raise GlowPipelineError(
            f"{n_in} in-distribution images and {n_out} outliers: detection cannot be measured without at least one "
            f"of each"
        )


def finite_mean(score: NDArray[np.floating]) -> tuple[float | None, int]:
    """Return the mean of the finite scores, None if there is none, and the number of the others."""
    finite = score[np.isfinite(score)]
    return float(finite.mean()) if len(finite) else None, len(score) - len(finite)


def _counts(is_out: NDArray[np.bool_], score: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of in-distribution images and of outliers with each distinct score, from the highest."""
    place = places(score)
    n_places = int(place.max()) + 1
    return np.bincount(place[~is_out], minlength=n_places), np.bincount(place[is_out], minlength=n_places)


def _trapezoids(n_positive: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """Return the area under precision as a function of the number of positives found, from 0 found at precision 1.

    Args:
        n_positive: (k,), positives with each score, from the score that is flagged first.
        precision: (k,), at these thresholds.
    """
    twice = n_positive[0] * (1 + precision[0]) + _dot(n_positive[1:], precision[1:])
    return float(twice + _dot(n_positive[1:], precision[:-1])) / 2


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the inner product, whose rounding does not depend on the number of threads as that of BLAS does."""
    return float(np.einsum("i,i", a, b))

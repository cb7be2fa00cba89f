"""Conformal p-values of a stream of images, which are independent of each other."""

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.outliers.scores.score import Numbers

Counts = NDArray[np.int64]


def online_p_values(calibration: Numbers, scores: Numbers, ties: Numbers) -> Numbers:
    """Return the p-value of each image among the calibration images and all images before it, (T,).

    p_t = (#{i: s_i > s_t} + u_t #{i: s_i = s_t}) / (n + t) over the n calibration images and the images 1, ..., t. If
    all these are exchangeable, the p_t are independent and uniform (Vovk, Gammerman and Shafer 2005, theorem 8.2).
    p-values among the calibration images alone are not independent: they share those images.

    Args:
        calibration: scores of the calibration images (n,), in rising order.
        scores: of the images in their order (T,), higher = more outlying.
        ties: uniform numbers u_t in (0, 1] (T,), independent of the scores.
    """
    higher, equal = _compared_with_earlier(scores)
    below, up_to = (np.searchsorted(calibration, scores, side) for side in ("left", "right"))
    higher += len(calibration) - up_to
    equal += up_to - below + 1  # itself
    p: Numbers = (higher + ties * equal) / (len(calibration) + np.arange(1, len(scores) + 1))
    return p


def _compared_with_earlier(scores: Numbers) -> tuple[Counts, Counts]:
    """Return how many earlier scores are higher than each one, and how many equal it, both (T,).

    As in a merge sort, blocks of twice the width are joined again and again: each score of a right half is counted
    against its whole left half. All pairs of halves of a width are searched at once, so that the time is
    O(T log(T)**2) without a loop over scores.
    """
    rank = np.unique(scores, return_inverse=True)[1].astype(np.int64)
    position = np.arange(len(scores))
    higher, equal = np.zeros(len(scores), dtype=np.int64), np.zeros(len(scores), dtype=np.int64)
    width = 1
    while width < len(scores):
        half = position // width
        key = (half // 2) * len(scores) + rank  # rising over the pairs of halves
        right = half % 2 == 1
        left_keys, keys = np.sort(key[~right]), key[right]
        below, up_to = (np.searchsorted(left_keys, keys, side) for side in ("left", "right"))
        left_ends = (half[right] // 2 + 1) * width  # within left_keys: a right half has a complete left half
        higher[right] += left_ends - up_to
        equal[right] += up_to - below
        width *= 2
    return higher, equal

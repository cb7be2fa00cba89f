"""Conformal p-values of single images."""

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.outliers.scores.score import Numbers

# Scores that differ by less, relative to 1 or to their size, are equal: those of one image in batches of other sizes
# differ by less.
TIE = 1e-5


def as_outlying(calibration: Numbers, scores: Numbers) -> NDArray[np.int64]:
    """Return how many calibration images score at least as high as each image, (n,); ties count.

    NaN counts as infinity on both sides: an image on which the flow overflows is the most outlying.

    Args:
        calibration: scores of the calibration images, in rising order, NaN last; there may be none.
        scores: of the images (n,).
    """
    scores = np.where(np.isnan(scores), np.inf, scores)
    lower = scores - TIE * np.maximum(1, np.abs(np.where(np.isinf(scores), 0, scores)))
    return len(calibration) - np.searchsorted(calibration, lower, side="left")


def p_values(calibration: Numbers, scores: Numbers) -> Numbers:
    """Return the conformal p-values (n,): p = (1 + #{i: s_i >= s}) / (n + 1).

    For an image that is exchangeable with the calibration images P(p <= a) <= a, over both together. The tolerance of
    ties only raises a p-value, and a higher score never has a higher one, so that this and what Benjamini-Hochberg and
    closed testing need of the p-values together still holds.

    Source: Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world; Bates et al. 2023,
    arXiv:2104.08279.

    Args:
        calibration: as in `as_outlying`.
        scores: of the images.
    """
    p: Numbers = (1 + as_outlying(calibration, scores)) / (len(calibration) + 1)
    return p

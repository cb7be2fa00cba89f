"""One p-value for a list of images as a whole."""

import numpy as np

from glow_pipeline.outliers.scores.score import Numbers

EXACT_AT_MOST = 10**9  # product of the numbers of images; the exact distribution of more takes seconds


def list_p_value(calibration: Numbers, scores: Numbers) -> float | None:
    """Return the p-value of the hypothesis that the images are exchangeable with the calibration images.

    The two-sample Kolmogorov-Smirnov test of the scores, by its exact distribution (asymptotic where both sets are
    large); where scores tie it is conservative. It detects any difference between the distributions of the score: a
    part that is more outlying, a shift that no single image shows, and also images that are more typical than the
    calibration images. It is blind to differences that leave the scores alone, and to a few outliers among many
    images, which `at_least_outliers` counts. Repeated images are no sample, and have to be left out before.

    Source: Hodges 1958, doi:10.1007/BF02589501; `scipy.stats.ks_2samp`.

    Args:
        calibration: scores of the calibration images (n,); NaN counts as infinity.
        scores: of the images (m,), each once.

    Returns:
        The p-value; None without an image on either side.
    """
    from scipy import stats  # here, because it takes half a second and most commands judge no files

    n, m = len(calibration), len(scores)
    if not n or not m:
        return None
    method = "exact" if n * m <= EXACT_AT_MOST else "asymp"
    both = (np.where(np.isnan(values), np.inf, values) for values in (calibration, scores))
    return float(stats.ks_2samp(*both, method=method).pvalue)

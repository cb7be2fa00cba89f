"""A lower bound of the number of files of a list that do not belong, by closed testing.

A set of files is rejected if each set that contains it fails a test of the hypothesis that all its files belong; the
largest set that is not rejected might belong, and the rest does not. The bound fails with a probability of at most
a = 1 - confidence. A set fails if one of two tests rejects it at a / 2:

- Simes' test, valid for conformal p-values since they depend on each other positively (PRDS). It sees few files that
  are extreme, if there are many calibration images.
- The number of files with p <= rate, which is beta-binomial (`guarantee`). It sees many outliers that are less extreme,
  and needs fewer calibration images.

Of all sets of a size both tests reject that of the largest p-values last, and if they reject it, then also the next
larger one of these: with Simes p <= j a / (i - 1) implies p <= (j + 1) a / i, and the limit of the number of files
grows by at most one with the size. So the largest set that is not rejected is found by bisection.

Source: Marcus, Peritz and Gabriel 1976, doi:10.1093/biomet/63.3.655; Goeman and Solari 2011, arXiv:1208.2841; Simes
1986, doi:10.1093/biomet/73.3.751; Hommel 1988, doi:10.1093/biomet/75.2.383; of conformal p-values: Magnani, Sesia and
Solari 2023, arXiv:2308.05534.
"""

from collections.abc import Callable

import numpy as np

from glow_pipeline.outliers.conformal.benjamini_hochberg import ROUNDING
from glow_pipeline.outliers.conformal.guarantee import flagged_ranks
from glow_pipeline.outliers.scores.score import Numbers

CONFIDENCE = 0.95


def at_least_outliers(p_values: Numbers, n: int, rate: float, confidence: float = CONFIDENCE) -> int:
    """Return the lower bound of the number of files that do not belong.

    Args:
        p_values: of all files of the list (m,), in any order; there may be none.
        n: calibration images.
        rate: of the verdict, chosen before the p-values are looked at.
        confidence: of the bound.
    """
    rising, level = np.sort(p_values), (1 - confidence) / 2
    n_flagged = int((p_values <= rate).sum())
    by_simes = _rejected_of(len(rising), lambda size: simes_rejects(rising[len(rising) - size :], level))
    n_others = len(rising) - n_flagged
    by_number = _rejected_of(len(rising), lambda size: number_rejects(size - n_others, size, n, rate, level))
    return max(by_simes, by_number)


def simes_rejects(rising: Numbers, level: float) -> bool:
    """Return whether p_(j) <= j level / m for any of m p-values in rising order."""
    m = len(rising)
    return bool(np.any(rising * m <= np.arange(1, m + 1) * level * (1 + ROUNDING)))


def number_rejects(flagged: int, m: int, n: int, rate: float, level: float) -> bool:
    """Return whether so many or more of m files that belong have p <= rate with a probability of at most the level."""
    from scipy import stats  # here, because it takes half a second and most commands judge no files

    ranks = flagged_ranks(n, rate)
    if flagged <= 0 or not ranks:
        return False
    fewer = stats.betabinom.pmf(np.arange(flagged), m, ranks, n + 1 - ranks).sum()
    return bool(1 - fewer <= level)


def _rejected_of(m: int, rejects: Callable[[int], bool]) -> int:
    """Return m less the largest size that is not rejected, where no larger one is either."""
    kept, rejected = 0, m + 1
    while rejected - kept > 1:
        size = (kept + rejected) // 2
        if rejects(size):
            rejected = size
        else:
            kept = size
    return m - kept

"""Guarantees about false alarms that follow from the number of calibration images.

An image is called an outlier if its p-value j / (n + 1) is at most the rate a, which k = floor(a (n + 1)) of the n + 1
possible values are. Over calibration sets and images together the share of false alarms is k / (n + 1) <= a. Given one
calibration set it is Beta(k, n + 1 - k) distributed, and the number of false alarms among m images is beta-binomial;
both are stochastically smaller where scores tie.

Source: Vovk 2012, arXiv:1209.2673; Bates et al. 2023, arXiv:2104.08279; Angelopoulos and Bates 2021,
arXiv:2107.07511, section 3.2.
"""

import math
from fractions import Fraction

import numpy as np

CONFIDENCE = 0.9  # of the bound that people are shown


def as_typed(rate: float) -> Fraction:
    """Return the decimal number that was typed: .29 * 100 is below 29 in floating point, and floor would lose one."""
    return Fraction(repr(float(rate)))


def flagged_ranks(n: int, rate: float) -> int:
    """Return k = floor(rate (n + 1)): how many of the possible p-values of n calibration images are at most the rate.

    Args:
        n: calibration images.
        rate: in (0, 1).
    """
    return math.floor(as_typed(rate) * (n + 1))


def images_needed(rate: float) -> int:
    """Return the smallest number of calibration images with which a p-value can be as low as the rate."""
    return math.ceil(1 / as_typed(rate)) - 1


def smallest_p(n: int) -> float:
    """Return the p-value of n calibration images that no image can go below, 1 / (n + 1)."""
    return 1 / (n + 1)


def false_alarm_bound(n: int, rate: float, confidence: float = CONFIDENCE) -> float:
    """Return the bound that the false-alarm rate of one calibration set is below with this confidence.

    The quantile of Beta(k, n + 1 - k); 0 with too few calibration images, which flag nothing.
    """
    from scipy import stats  # here, because it takes half a second and most commands judge no files

    k = flagged_ranks(n, rate)
    return float(stats.beta.ppf(confidence, k, n + 1 - k)) if k else 0.0


def flagged_interval(n: int, m: int, rate: float, coverage: float = 0.95) -> tuple[int, int]:
    """Return the central interval of the number of false alarms among m images that are like the calibration images.

    The (1 -+ coverage) / 2 quantiles of the beta-binomial distribution of m trials with Beta(k, n + 1 - k). A binomial
    interval would be too narrow: it leaves out that the calibration images are a sample too.
    """
    from scipy import stats  # here, because it takes half a second and most commands judge no files

    k = flagged_ranks(n, rate)
    if not k or not m:
        return 0, 0
    cumulative = np.cumsum(stats.betabinom.pmf(np.arange(m + 1), m, k, n + 1 - k))
    low, high = np.searchsorted(cumulative, [(1 - coverage) / 2, (1 + coverage) / 2])
    return int(low), int(high)

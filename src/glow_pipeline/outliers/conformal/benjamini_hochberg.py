"""Benjamini-Hochberg over a list of conformal p-values: the outliers of the list, few of them false.

The expected share of false ones among the rejected is at most q times the share of files that belong. That holds for
conformal p-values, which depend on each other through their calibration images but positively (PRDS).

Source: Benjamini and Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x; Bates et al. 2023, arXiv:2104.08279.
"""

import math

import numpy as np
from numpy.typing import NDArray

from glow_pipeline.outliers.conformal.guarantee import as_typed
from glow_pipeline.outliers.scores.score import Numbers

ROUNDING = 1e-12  # p-values j / (n + 1) and their limits are equal or differ by more, relative to their size


def benjamini_hochberg(p_values: Numbers, q: float) -> NDArray[np.bool_]:
    """Return which p-values are rejected (m,): the R smallest, R the largest with p_(R) <= R q / m.

    Args:
        p_values: of all files of the list (m,), in any order; there may be none.
        q: false-discovery rate, chosen before the p-values are looked at.
    """
    m = len(p_values)
    ordered = np.sort(p_values)
    passing = np.flatnonzero(ordered * m <= np.arange(1, m + 1) * q * (1 + ROUNDING))
    rejected: NDArray[np.bool_] = p_values <= (ordered[passing[-1]] if len(passing) else -1)
    return rejected


def fewest_rejections(m: int, n: int, q: float) -> int:
    """Return R = ceil(m / (q (n + 1))): of m files either as many at least are rejected together, or none.

    No p-value of n calibration images is below 1 / (n + 1), which R q / m has to reach. Above m, nothing can be
    rejected.
    """
    return math.ceil(m / (as_typed(q) * (n + 1)))

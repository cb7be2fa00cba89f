"""A kernel density estimate."""

from dataclasses import dataclass

import numpy as np

from glow_pipeline.outliers.densities.density import Fitted, Numbers, fit_whitening, limited, log_sum_exp, whitened

ROWS = 512  # scored at once: memory is ROWS * n numbers


@dataclass(frozen=True)
class KernelDensity:
    """Negative log-density of a Gaussian kernel estimate on whitened numbers, of bandwidth n^(-1/(d + 4)) (Scott)."""

    def fit(self, numbers: Numbers, seed: int) -> dict[str, Numbers]:  # noqa: ARG002  # nothing is drawn
        whitening = fit_whitening(limited(numbers))
        return {**whitening, "points": whitened(whitening, numbers)}

    def score(self, fitted: Fitted, numbers: Numbers) -> Numbers:
        from scipy.spatial.distance import cdist

        points = fitted["points"]
        n, d = points.shape
        bandwidth = n ** (-1 / (d + 4))
        x = whitened(fitted, numbers)
        scores = [
            -log_sum_exp(-0.5 / bandwidth**2 * cdist(x[i : i + ROWS], points, "sqeuclidean"), axis=1)
            for i in range(0, len(x), ROWS)
        ]
        return np.concatenate(scores)

"""A Gaussian mixture whose covariances are shrunk, for tens to thousands of images."""

import warnings
from dataclasses import dataclass

import numpy as np

from glow_pipeline.outliers.densities.density import Fitted, Numbers, fit_whitening, limited, log_sum_exp, whitened


@dataclass(frozen=True)
class ShrunkMixture:
    """Negative log-density of a Gaussian mixture on whitened numbers: -log sum_k w_k N(x; m_k, C_k).

    Expectation-maximisation fits the components with one covariance P for all. Each then gets a covariance of its own,
    as far as it has images to estimate it with:

        C_k = a_k S_k + (1 - a_k) P + 1e-3 I,  a_k = n_k / (n_k + 2 d)

    where S_k is weighted by the responsibilities, whose sum is n_k.

    Attributes:
        components: most components; there are n // (2 d) where these are fewer, but one at least.
    """

    components: int = 10

    regularisation = 1e-3

    def fit(self, numbers: Numbers, seed: int) -> dict[str, Numbers]:
        whitening = fit_whitening(limited(numbers))
        x = whitened(whitening, numbers)
        n, d = x.shape
        responsibilities, means, pooled = self._components(x, min(self.components, max(1, n // (2 * d))), seed)
        counts = responsibilities.sum(axis=0)
        roots = []
        for weights, mean, count in zip(responsibilities.T, means, counts, strict=True):
            centred = x - mean
            own = (weights[:, None] * centred).T @ centred / max(count, 1e-9)
            share = count / (count + 2 * d)
            covariance = share * own + (1 - share) * pooled + self.regularisation * np.eye(d)
            roots.append(np.linalg.inv(np.linalg.cholesky(covariance)).T)
        return {
            **whitening,
            "log_weights": np.log(counts / n + 1e-12),
            "means": means,
            "precision_roots": np.array(roots),  # (k, d, d), upper triangular: C_k^-1 = R R^T
        }

    def score(self, fitted: Fitted, numbers: Numbers) -> Numbers:
        x = whitened(fitted, numbers)
        terms = [
            log_weight - 0.5 * np.square((x - mean) @ root).sum(axis=1) + np.log(np.diag(root)).sum()
            for log_weight, mean, root in zip(
                fitted["log_weights"], fitted["means"], fitted["precision_roots"], strict=True
            )
        ]
        scores: Numbers = -log_sum_exp(np.array(terms), axis=0)
        return scores

    def _components(self, x: Numbers, k: int, seed: int) -> tuple[Numbers, Numbers, Numbers]:
        """Return responsibilities (n, k), means (k, d) and the covariance (d, d) that all components share."""
        if k == 1:
            mean = x.mean(axis=0)
            pooled = (x - mean).T @ (x - mean) / len(x) + self.regularisation * np.eye(x.shape[1])
            return np.ones((len(x), 1)), mean[None], pooled
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(
            k, covariance_type="tied", reg_covar=self.regularisation, max_iter=200, random_state=seed % 2**32
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # equal images make fewer clusters; the result is used
            mixture.fit(x)
        return mixture.predict_proba(x), mixture.means_, mixture.covariances_

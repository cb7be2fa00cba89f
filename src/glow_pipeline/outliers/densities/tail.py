"""Tail probabilities of scores among the validation images: a scale on which several scores can be added."""

from dataclasses import dataclass

import numpy as np

from glow_pipeline.outliers.densities.density import Density, Fitted, Numbers, on_one_thread

QUANTILE = 0.9
LARGEST_TAIL = 1e30


def fit_tail(reference: Numbers) -> dict[str, Numbers]:
    """Return the parameters of `tail` by the values (n,) of a score on validation images.

    Returns:
        reference (n,) in rising order, threshold (1,) its 90% quantile, and excess (1,) the mean excess above it.
    """
    threshold = np.quantile(reference, QUANTILE)
    above = reference[reference > threshold] - threshold
    excess = (above.mean() if len(above) else 0.0) + 1e-12
    return {"reference": np.sort(reference), "threshold": np.array([threshold]), "excess": np.array([excess])}


def tail(fitted: Fitted, values: Numbers) -> Numbers:
    """Return -log of the share of validation images that score at least as high, (n,) -> (n,), in nats.

    Up to the 90% quantile it is counted, (1 + number at least as high) / (n + 1). Beyond, where few or none are left
    to be counted, the share is continued by an exponential distribution of the mean excess, so that no two outliers
    have one value because they exceed all validation images.
    """
    reference, threshold, excess = fitted["reference"], fitted["threshold"][0], fitted["excess"][0]
    n = len(reference)
    as_high = n - np.searchsorted(reference, np.minimum(values, threshold), side="left")
    surprise = -np.log((1 + as_high) / (n + 1)) + np.maximum(values - threshold, 0) / excess
    limited: Numbers = np.minimum(np.nan_to_num(surprise, nan=LARGEST_TAIL), LARGEST_TAIL)
    return limited


@dataclass(frozen=True)
class TailedDensity:
    """The tail of a density's score.

    The reference of the tail has to be of images that the density was not fitted to: a density is higher at those, the
    more so the fewer they are. So each fifth of the validation images is scored by a density of the other four.
    """

    density: Density

    folds = 5

    def fit(self, numbers: Numbers, seed: int) -> dict[str, Numbers]:
        """Return the parameters of the density fitted to all (n, d) numbers, and those of the tail."""
        return on_one_thread(lambda: {**self.density.fit(numbers, seed), **fit_tail(self.out_of_fold(numbers, seed))})

    def score(self, fitted: Fitted, numbers: Numbers) -> Numbers:
        """Return the tail of the negative log-density, (n,)."""
        return tail(fitted, self.density.score(fitted, numbers))

    def out_of_fold(self, numbers: Numbers, seed: int) -> Numbers:
        n = len(numbers)
        if n == 1:
            return self.density.score(self.density.fit(numbers, seed), numbers)
        fold = np.random.default_rng([seed % 2**32, 1]).permutation(n) % min(self.folds, n)
        values = np.empty(n)
        for left_out in range(fold.max() + 1):
            fitted = self.density.fit(numbers[fold != left_out], seed)
            values[fold == left_out] = self.density.score(fitted, numbers[fold == left_out])
        return values

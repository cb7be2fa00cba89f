"""The interface of a score that also judges groups of images."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from glow_pipeline.outliers.scores.score import FittedScore, Numbers
from glow_pipeline.randomness import key

MOST_SAMPLED = 1000  # validation images whose numbers are kept to draw groups from


@dataclass(frozen=True)
class GroupScore(FittedScore):
    """A fitted score that also judges a group of images as one: by the mean of the numbers that describe them.

    Attributes:
        fitted: `sample` has the numbers of validation images (n, d), from which groups are drawn for comparison.
    """

    def fit(self, described: Numbers, seed: int) -> Self:
        random = np.random.default_rng(key(seed, "sample of validation images") % 2**64)
        chosen = np.sort(random.permutation(len(described))[:MOST_SAMPLED])
        return replace(self, fitted={**self._fit(described, seed), "sample": described[chosen]})

    def bootstrap(self, size: int, n_groups: int, seed: int) -> Numbers:
        """Return the scores (n_groups,), sorted, of groups drawn with replacement from the sample.

        Args:
            size: images a group.
            n_groups: number of groups.
            seed: of the draws.
        """
        sample = self.fitted["sample"]
        random = np.random.default_rng(key(seed, "bootstrap of groups") % 2**64)
        means = [sample[random.integers(len(sample), size=size)].mean(axis=0) for _ in range(n_groups)]
        return np.sort(self.score(np.stack(means)))

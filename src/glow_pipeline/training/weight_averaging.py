"""The average of the weights over the steps, by which flows are evaluated in the papers.

The figures of Glow and Residual Flow (arXiv:1807.03039, arXiv:1906.02735) are those of averaged weights: single steps
scatter around the average.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """Exponential moving average of a vector that changes in place.

        average <- d average + (1 - d) vector,  d = min(decay, (1 + t) / (10 + t)) at step t

    so that the first steps, whose weights are far from the last ones, are soon forgotten.

    Args:
        vector: (P,), all parameters.
        decay: below 1; at 0 there is no average, and the vector itself is used.
    """

    def __init__(self, vector: Tensor, decay: float) -> None:
        self.decay = decay
        self._vector = vector
        self.value = vector.clone() if decay > 0 else None

    @torch.no_grad()
    def start(self) -> None:
        """Start from the vector as it is now."""
        if self.value is not None:
            self.value.copy_(self._vector)

    @torch.no_grad()
    def update(self, steps: Tensor, updated: Tensor) -> None:
        """Include the vector in the average, if it was updated.

        Args:
            steps: number of updates, this one included, a scalar.
            updated: whether the vector was updated, a boolean scalar.
        """
        if self.value is not None:
            decay = ((1 + steps) / (10 + steps)).clamp(max=self.decay)
            self.value.lerp_(self._vector, (1 - decay) * updated)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set the parameters to the averaged ones within the block."""
        if self.value is None:
            yield
            return
        own = self._vector.clone()
        with torch.no_grad():
            self._vector.copy_(self.value)
        try:
            yield
        finally:
            with torch.no_grad():
                self._vector.copy_(own)

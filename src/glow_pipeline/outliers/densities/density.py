"""The interface of a density, and the whitening that densities share."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

# scikit-learn, SciPy and threadpoolctl are imported where they are used: other commands start faster without them.
if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Numbers = NDArray[np.float64]
Fitted = Mapping[str, Numbers]  # parameters by name, which are stored

LARGEST = 1e6  # larger numbers count as this one
SMALLEST_SD, SMALLEST_EIGENVALUE = 1e-9, 1e-9


class Density(Protocol):
    """A way to fit a density. Its parameters are arrays by name, so that they can be stored."""

    def fit(self, numbers: Numbers, seed: int) -> dict[str, Numbers]:
        """Return the parameters fitted to (n, d) numbers, n >= 1; one seed gives one result."""
        ...

    def score(self, fitted: Fitted, numbers: Numbers) -> Numbers:
        """Return the negative log-density of (n, d) numbers up to a constant, (n,), finite."""
        ...


def with_prefix(prefix: str, fitted: Fitted) -> dict[str, Numbers]:
    """Return the parameters under the names `prefix.name`, to be stored beside others."""
    return {f"{prefix}.{name}": array for name, array in fitted.items()}


def part_of(fitted: Fitted, prefix: str) -> dict[str, Numbers]:
    """Return the parameters that `with_prefix` gave this prefix, under their own names."""
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in fitted.items() if name.startswith(start)}


def log_sum_exp(values: Numbers, axis: int) -> Numbers:
    """Return log sum exp along an axis, of finite values; a multiple faster than SciPy's, which handles all others."""
    largest = values.max(axis=axis, keepdims=True)
    total: Numbers = np.log(np.exp(values - largest).sum(axis=axis)) + largest.squeeze(axis)
    return total


def limited(numbers: Numbers) -> Numbers:
    """Limit numbers to +-1e6, NaN becomes 1e6: an image so far out is an outlier by any density."""
    finite: Numbers = np.clip(np.nan_to_num(numbers, nan=LARGEST, posinf=LARGEST, neginf=-LARGEST), -LARGEST, LARGEST)
    return finite


def fit_whitening(numbers: Numbers) -> dict[str, Numbers]:
    """Fit a linear map to mean 0 and covariance 1, by the covariance of Ledoit and Wolf (2004).

    Args:
        numbers: (n, d), limited.

    Returns:
        centre (d,) and whitener (d, d).
    """
    from sklearn.covariance import LedoitWolf

    mean, sd = numbers.mean(axis=0), numbers.std(axis=0) + SMALLEST_SD
    standardised = (numbers - mean) / sd
    if len(numbers) > 1:
        covariance = LedoitWolf(assume_centered=True).fit(standardised).covariance_
    else:
        covariance = np.zeros((numbers.shape[1],) * 2)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    whitener = vectors / np.sqrt(np.maximum(eigenvalues, SMALLEST_EIGENVALUE)) / sd[:, None]
    return {"centre": mean, "whitener": whitener}


def whitened(fitted: Fitted, numbers: Numbers) -> Numbers:
    """Return limited numbers (n, d) after the map of `fit_whitening`."""
    white: Numbers = (limited(numbers) - fitted["centre"]) @ fitted["whitener"]
    return white


def on_one_thread(fit: Callable[[], dict[str, Numbers]]) -> dict[str, Numbers]:
    """Call `fit` with one thread of each library, since sums of several threads do not have the same bits each time."""
    with _threadpools().limit(limits=1):
        return fit()


@cache
def _threadpools() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()

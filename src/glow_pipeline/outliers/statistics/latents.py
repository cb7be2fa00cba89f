"""Statistics of each level of the flow: of its standardised latent eps, and of its part of the likelihood.

Each function returns float64 (B, L), levels from fine to coarse, as `density.exact` has it. Scores call it by
`batch.once(...)`. Under the model the elements of eps are independent and N(0, 1). Moments and correlations are those
of all elements of one image's eps at one level.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch, exact

SMALLEST_SD = 1e-12


class Standardized(NamedTuple):
    """A level's eps, centred and scaled by its own mean and standard deviation in each image."""

    values: Tensor  # (B, C, H, W), float64
    mean: Tensor  # (B,)
    variance: Tensor  # (B,)


def level_log_prob(batch: ModelledBatch) -> Tensor:
    """Return each level's part of log p(x), its latent's log-prob and its log-det, in nats per dimension of eps."""
    return _by_level([(level.log_prob + level.logdet) / level.eps[0].numel() for level in batch.levels])


def latent_log_prob(batch: ModelledBatch) -> Tensor:
    """Return the log-density of each level's latent under its prior, in nats per dimension of eps."""
    return _by_level([level.log_prob / level.eps[0].numel() for level in batch.levels])


def log_determinant(batch: ModelledBatch) -> Tensor:
    """Return the log-determinant of each level's steps, in nats per dimension of eps."""
    return _by_level([level.logdet / level.eps[0].numel() for level in batch.levels])


def norm(batch: ModelledBatch) -> Tensor:
    """Return the Euclidean norm of each level's eps."""
    return _by_level([precise(level.eps).flatten(1).norm(dim=1) for level in batch.levels])


def mean(batch: ModelledBatch) -> Tensor:
    """Return the mean of each level's eps."""
    return _by_level([level.mean for level in batch.once(standardized)])


def variance(batch: ModelledBatch) -> Tensor:
    """Return the variance of each level's eps."""
    return _by_level([level.variance for level in batch.once(standardized)])


def kurtosis(batch: ModelledBatch) -> Tensor:
    """Return the kurtosis of each level's eps, 3 for a Gaussian."""
    return _by_level([level.values.flatten(1).pow(4).mean(dim=1) for level in batch.once(standardized)])


def normal_distance(batch: ModelledBatch) -> Tensor:
    """Return the Kolmogorov-Smirnov distance of each level's eps to N(0, 1): the largest difference of both CDFs."""
    return _by_level([_distance_to_normal(level.eps.flatten(1)) for level in batch.levels])


def horizontal_autocorrelation(batch: ModelledBatch) -> Tensor:
    """Return the mean product of horizontal neighbours of each level's eps; 0 where a level is one pixel wide.

    The statistic of Hawkins et al. 2020 (KLODS, arXiv:2002.03328) at lag 1, on the levels of a Glow.
    """
    return _by_level([_mean_product(x[..., 1:], x[..., :-1]) for x, *_ in batch.once(standardized)])


def vertical_autocorrelation(batch: ModelledBatch) -> Tensor:
    """Return the mean product of vertical neighbours of each level's eps; 0 where a level is one pixel high."""
    return _by_level([_mean_product(x[..., 1:, :], x[..., :-1, :]) for x, *_ in batch.once(standardized)])


def channel_autocorrelation(batch: ModelledBatch) -> Tensor:
    """Return the mean product of neighbouring channels of each level's eps; 0 where a level has one channel."""
    return _by_level([_mean_product(x[:, 1:], x[:, :-1]) for x, *_ in batch.once(standardized)])


def autocorrelation(batch: ModelledBatch) -> Tensor:
    """Return the average of the horizontal and the vertical autocorrelation of each level's eps."""
    return (batch.once(horizontal_autocorrelation) + batch.once(vertical_autocorrelation)) / 2


# By name; without sums of others (level_log_prob, autocorrelation), which a density of all would count twice.
LATENT_STATISTICS: dict[str, Callable[[ModelledBatch], Tensor]] = {
    statistic.__name__: statistic
    for statistic in (
        latent_log_prob,
        log_determinant,
        norm,
        mean,
        variance,
        kurtosis,
        normal_distance,
        horizontal_autocorrelation,
        vertical_autocorrelation,
        channel_autocorrelation,
    )
}


def standardized(batch: ModelledBatch) -> list[Standardized]:
    """Standardise each level's eps image by image; a constant eps becomes 0."""
    levels = []
    for level in batch.levels:
        eps = precise(level.eps)
        mean = eps.mean(dim=(1, 2, 3))
        centred = eps - mean[:, None, None, None]
        variance = centred.square().mean(dim=(1, 2, 3))
        sd = variance.sqrt().clamp_min(SMALLEST_SD)
        levels.append(Standardized(centred / sd[:, None, None, None], mean, variance))
    return levels


def precise(values: Tensor) -> Tensor:
    """Return float64 where the device has it: float32 would make sums depend on the size of the batch."""
    return values if values.device.type == "mps" else values.double()


def _by_level(levels: list[Tensor]) -> Tensor:
    return exact(torch.stack(levels, dim=1))


def _mean_product(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).mean(dim=(1, 2, 3)) if x[0].numel() else x.new_zeros(len(x))


def _distance_to_normal(values: Tensor) -> Tensor:
    """Return the Kolmogorov-Smirnov distance of each row (B, n) to N(0, 1)."""
    rising = precise(values.sort(dim=1).values)  # sorted first: float32 is sorted faster
    cdf = 0.5 * (1 + torch.erf(rising / math.sqrt(2)))
    n = values.shape[1]
    above = torch.arange(1, n + 1, device=cdf.device, dtype=cdf.dtype) / n
    return torch.maximum((above - cdf).amax(dim=1), (cdf - above + 1 / n).amax(dim=1))

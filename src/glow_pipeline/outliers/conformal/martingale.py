"""A conformal test martingale, which shows whether a stream of images has changed."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from tqdm import tqdm

from glow_pipeline.outliers.scores.score import Numbers

JUMP_RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # for changes that last long, and for short ones
SLOPES = (1.0, -1.0)  # of the bets 1 + a (p - 1/2): on lower and on higher scores
CURVATURES = (0.5, -0.5)  # of the bets 1 + a (6 p**2 - 6 p + 1): on scores further apart and closer together
POWERS = (0.8, 0.5)  # of the bets k p**(k - 1): on few images far out
N_BETS = 1 + len(SLOPES) + len(CURVATURES) + len(POWERS)  # the first is on no change
SMALLEST_P = 1e-12  # a bet on a smaller p-value pays as much as on this one
STEPS_AT_ONCE = 32  # after which stakes are scaled; no product of so many bets overflows or underflows
NEGLIGIBLE = 1e-200  # a stake below that, relative to the martingale, is given up


def log10_martingale(p_values: Numbers, starts: Sequence[int]) -> Numbers:
    """Return the decimal logarithm of a test martingale after each image, (..., T); 0 before the first.

    It is the money of a player who begins with 1 and bets at fair odds against the hypothesis that the p-values are
    independent and uniform. If they are, the probability that it ever reaches 1/a is at most a (Ville's inequality),
    however long the stream is and whenever one looks.

    The player is the Composite Jumper of Vovk et al. 2021 (arXiv:2102.10439): for several rates J, a share J of the
    money is spread evenly over the bets before each image, so that the money follows a bet that begins to win. Two
    things differ. There are more bets: those of the Jumper see a change of the mean p-value alone, which a few foreign
    images hardly change; p-values closer together are seen by the polynomial of degree two, and few small ones by the
    power martingale of Vovk et al. 2003. And the money is staked in parts, 1 / (b (b + 1)) at the start of batch
    b = 1, 2, ..., so that 1 / (b + 1) is left for later batches: a change is found also after a long time without one.

    Args:
        p_values: of the images in their order, (..., T), as from `online_p_values`.
        starts: positions in the stream at which a batch starts, not chosen by the p-values.
    """
    *streams, n_steps = p_values.shape
    rates = np.array(JUMP_RATES)[:, None]
    kept_share, spread_share = 1 - rates, rates / N_BETS
    logarithms = np.empty(p_values.shape)
    log_scale = np.zeros(streams)  # logarithm of the martingale when `stakes` were last scaled
    stakes = np.zeros((*streams, len(JUMP_RATES), N_BETS))  # times exp(log_scale)
    batch_starts = set(starts)
    left, n_batches = 1.0, 0  # money that is not staked yet
    edges = sorted({*starts, *range(0, n_steps, STEPS_AT_ONCE), n_steps})
    for first, end in tqdm([*pairwise(edges)], "martingale", delay=2, leave=False):
        if first in batch_starts:
            n_batches += 1
            left = 1 / (n_batches + 1)
            stakes += (left / n_batches * np.exp(-log_scale))[..., None, None] / (len(JUMP_RATES) * N_BETS)
        bets = _bets(p_values[..., first:end])
        money = np.empty((*streams, end - first))
        for i in range(end - first):
            spread = spread_share * stakes.sum(axis=-1, keepdims=True)
            stakes *= kept_share
            stakes += spread
            stakes *= bets[..., i, None, :]
            money[..., i] = stakes.sum(axis=(-2, -1))
        money += left * np.exp(-log_scale)[..., None]
        logarithms[..., first:end] = np.log(money) + log_scale[..., None]
        stakes /= money[..., -1, None, None]
        stakes[stakes < NEGLIGIBLE] = 0
        log_scale = logarithms[..., end - 1].copy()
    return logarithms / np.log(10)


def _bets(p_values: Numbers) -> Numbers:
    """Return what each bet pays, (..., N_BETS): densities on [0, 1] at the p-values."""
    p = np.maximum(p_values, SMALLEST_P)[..., None]
    line, parabola = p - 0.5, 6 * p * p - 6 * p + 1
    powers = np.array(POWERS)
    return np.concatenate(
        [np.ones_like(p), 1 + line * SLOPES, 1 + parabola * CURVATURES, powers * p ** (powers - 1)], axis=-1
    )

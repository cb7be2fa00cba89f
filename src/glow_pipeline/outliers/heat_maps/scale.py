"""The scale of a heat map: quantiles of the calibration images' pixels."""

from collections.abc import Iterable

import numpy as np

from glow_pipeline.outliers.densities.density import SMALLEST_SD, Numbers

MOST = 2**20  # pixels in memory
STEPS = 1000  # shares are exact to one in so many
TAIL = 0.01  # share of the numbers whose mean excess is the unit beyond all quantiles but the last
DARK, BRIGHT = 0.95, 0.999  # surprise up to which a picture has no colour, and from which on it is bright
KNOTS = {DARK: 0.0, BRIGHT: 0.75, 1 - 1e-8: 1.0}  # surprise -> brightness in a picture


def quantiles_of(pieces: Iterable[Numbers], most: int = MOST) -> Numbers | None:
    """Return the quantiles (STEPS + 1,) of numbers that come in pieces (n,), equally spaced from 0 to 1.

    Of more than `most` numbers a sample is used, in which each has the same chance to be. None: there are no numbers.
    """
    random = np.random.default_rng(0)
    kept, rate = np.empty(0), 1.0
    for piece in pieces:
        drawn = piece if rate == 1 else piece[random.random(len(piece)) < rate]
        kept = np.concatenate([kept, drawn])
        while len(kept) > most:
            kept, rate = kept[random.random(len(kept)) < 0.5], rate / 2
    if not len(kept):
        return None
    quantiles: Numbers = np.quantile(kept, np.linspace(0, 1, STEPS + 1))
    return quantiles


def share_below(quantiles: Numbers, values: Numbers) -> Numbers:
    """Return the share of the numbers with these quantiles that are smaller than each value, of any shape.

    Beyond the last quantile but one, where few or none of the numbers are, the share is extrapolated by a generalised
    Pareto tail: 1 - share = (1 + excess / 2u)^-2 / STEPS, with u the mean excess of the largest hundredth. Its shape
    1/2 is not fitted. It is heavier than the tails of three models' normal pixels, of which 2 in 100,000 at most are
    above .9999; so the share says too little rather than too much, and larger values keep larger shares.
    """
    different, first = np.unique(quantiles, return_index=True)
    share: Numbers = np.interp(values, different, first / STEPS)
    top = quantiles[-round(TAIL * STEPS) - 1 :]
    unit = top.mean() - top[0] + SMALLEST_SD
    excess = np.maximum(values - quantiles[-2], 0)
    return np.where(excess > 0, 1 - (1 + excess / (2 * unit)) ** -2 / STEPS, share)


def brightness(surprise: Numbers) -> Numbers:
    """Return how bright a surprise is to be drawn, in [0, 1]: 19 of 20 pixels of images that belong have no colour.

    Brightness is linear in the logarithm of 1 - surprise between the KNOTS, so that there is contrast left where all of
    an image is more surprising than any pixel of the calibration images.
    """
    rarity = -np.log10(np.maximum(1 - surprise, 1e-15))
    bright: Numbers = np.interp(rarity, -np.log10(1 - np.array(list(KNOTS))), list(KNOTS.values()))
    return bright

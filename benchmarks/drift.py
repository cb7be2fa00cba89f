"""Measure the martingale that detects drift: how often does it alarm without a change, and how soon after one?

    python benchmarks/drift.py [--streams 1000] [--calibration 3000] [--batch 100] [--drift-rate 0.01]

Each stream has standard normal scores: calibration images, ten batches like them, then ten batches with a change. The
first row is without a change, and its share of alarms is that of the whole stream. The Composite Jumper of Vovk et al.
2021 as published, whose bets are a part of ours, is beside it. Images are counted from the change to the alarm; streams
with an alarm before the change are left out.

Prints a table in Markdown.
"""

import argparse
import math
from collections.abc import Callable, Mapping

import numpy as np
from tqdm import tqdm

from glow_pipeline.outliers.conformal.martingale import JUMP_RATES, SLOPES, log10_martingale
from glow_pipeline.outliers.conformal.online_p_values import online_p_values
from glow_pipeline.outliers.scores.score import Numbers

BEFORE, AFTER = 10, 10  # batches
SEED = 0


def foreign(share: float) -> Callable[[Numbers, np.random.Generator], Numbers]:
    """Return the change in which a share of the images comes from elsewhere."""
    return lambda scores, random: np.where(random.random(scores.shape) < share, 6 + scores, scores)


CHANGES: Mapping[str, Callable[[Numbers, np.random.Generator], Numbers]] = {
    "none": lambda scores, _: scores,
    "2% foreign images": foreign(0.02),
    "5% foreign images": foreign(0.05),
    "10% foreign images": foreign(0.1),
    "30% foreign images": foreign(0.3),
    "scores higher by 0.25 standard deviations": lambda scores, _: scores + 0.25,
    "scores higher by 0.5": lambda scores, _: scores + 0.5,
    "scores lower by 0.5": lambda scores, _: scores - 0.5,
    "scores 1.5 times as far apart": lambda scores, _: 1.5 * scores,
    "scores 1.5 times closer together": lambda scores, _: scores / 1.5,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000, help="streams of each change")
    parser.add_argument("--calibration", type=int, default=3000, help="calibration images")
    parser.add_argument("--batch", type=int, default=100, help="images of a batch")
    parser.add_argument("--drift-rate", type=float, default=0.01, help="as score.drift_rate")
    arguments = parser.parse_args()
    n_steps, alarm = (BEFORE + AFTER) * arguments.batch, -math.log10(arguments.drift_rate)
    starts = range(0, n_steps, arguments.batch)
    print("| change | alarm | median images until then | Composite Jumper: alarm | images |\n|---|---|---|---|---|")  # noqa: T201
    for name, change in CHANGES.items():
        random = np.random.default_rng(SEED)
        p = np.empty((arguments.streams, n_steps))
        for row in tqdm(p, name, delay=2, leave=False):
            calibration, scores = (
                np.sort(random.standard_normal(arguments.calibration)),
                random.standard_normal(n_steps),
            )
            start = BEFORE * arguments.batch
            scores[start:] = change(scores[start:], random)
            row[:] = online_p_values(calibration, scores, 1 - random.random(n_steps))
        changes = BEFORE * arguments.batch if name != "none" else 0
        cells = [_measured(log, alarm, changes) for log in (log10_martingale(p, starts), composite_jumper(p))]
        print(f"| {name} | {' | '.join(cells)} |")  # noqa: T201


def composite_jumper(p_values: Numbers) -> Numbers:
    """Return the decimal logarithm of the Composite Jumper as published, after each image (n_streams, T)."""
    bets = 1 + (p_values - 0.5)[..., None] * np.array([0.0, *SLOPES])
    n_bets, rates = bets.shape[-1], np.array(JUMP_RATES)[:, None]
    stakes = np.full((len(p_values), len(rates), n_bets), 1 / (len(rates) * n_bets))
    money = np.empty(p_values.shape)
    for t in range(p_values.shape[1]):
        stakes = (1 - rates) * stakes + rates / n_bets * stakes.sum(axis=-1, keepdims=True)
        stakes *= bets[:, t, None, :]
        money[:, t] = stakes.sum(axis=(-2, -1))
    return np.log10(money)


def _measured(logarithms: Numbers, alarm: float, change: int) -> str:
    """Return the share of streams with an alarm after the change, and the median number of images until then.

    Args:
        logarithms: (n_streams, T).
        alarm: level of the alarm.
        change: position at which the change begins.
    """
    early = (logarithms[:, :change] >= alarm).any(axis=1)
    after = logarithms[~early, change:] >= alarm
    found = after.any(axis=1)
    images = np.where(found, after.argmax(axis=1) + 1, np.inf)
    median = np.median(images) if len(images) else np.inf
    return f"{found.mean():.1%} | {median:.0f}" if math.isfinite(median) else f"{found.mean():.1%} | -"


if __name__ == "__main__":
    main()

"""The history of the batches that one detector has judged: how many images it flagged, and whether they changed."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from glow_pipeline.counting import plural
from glow_pipeline.images.content import mix
from glow_pipeline.outliers.conformal.guarantee import flagged_interval
from glow_pipeline.outliers.conformal.martingale import log10_martingale
from glow_pipeline.outliers.conformal.online_p_values import online_p_values
from glow_pipeline.outliers.detector import Hashes
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.plots.batches import BatchPoint
from glow_pipeline.randomness import key
from glow_pipeline.verdict.batch import ScoredBatch

COVERAGE = 0.95  # of the intervals
MOST_DIGITS = 6  # a martingale with more is printed as a power of ten


def history_table(batches: Sequence[ScoredBatch], calibration: Numbers, seed: int, drift_rate: float) -> pd.DataFrame:
    """Return one row a batch.

    A martingale bets against the hypothesis that the images of all batches, and the calibration images, come in a
    random order. Copies of images that came before are left out: they would be no evidence. Within a batch the order
    is random too, so that a folder sorted by its contents counts as no change.

    Args:
        batches: in their order.
        calibration: main score of the calibration images (n,), in rising order.
        seed: of the random order and of the order among equal scores; together with the images' contents it fixes both.
        drift_rate: probability of an alarm, ever, if nothing changes.

    Returns:
        batch: 1, 2, ...; date, session, images, n_scored, n_unreadable, n_known, n_flagged, false_alarm_rate,
        folder_p_value: as in `BatchRecord`; n_copies: images that came before, in this or in an earlier batch;
        share_flagged with the limits of its 95% interval (Clopper-Pearson), share_flagged_low and _high;
        expected_low and expected_high: 95% interval of that share if nothing has changed (beta-binomial);
        mean_p_value: of the p-values that the martingale bets on: about 1/2, or less if scores are higher than before;
        log10_martingale at the end of the batch, and the highest so far, log10_martingale_highest; drift_rate, and
        drift: whether that has reached 1 / drift_rate.
    """
    stream = _stream(batches, seed)
    p_values = online_p_values(calibration, stream.scores, _uniform(stream.content_hashes, seed, "ties"))
    sums = np.concatenate([[0.0], np.cumsum(p_values)])
    logarithms = np.concatenate([[0.0], log10_martingale(p_values, [0, *stream.ends[:-1]])])
    highest = np.maximum.accumulate(logarithms)
    rows = []
    for number, (batch, (start, end)) in enumerate(zip(batches, pairwise([0, *stream.ends]), strict=True), start=1):
        record = batch.record
        n, flagged = record.n_scored, record.n_flagged
        low, high = _share_interval(flagged, n)
        expected = flagged_interval(len(calibration), n, record.false_alarm_rate, COVERAGE)
        rows.append(
            {
                "batch": number,
                "date": record.date,
                "session": record.session,
                "images": record.images,
                "n_scored": n,
                "n_unreadable": record.n_unreadable,
                "n_known": record.n_known,
                "n_copies": stream.n_copies[number - 1],
                "n_flagged": flagged,
                "false_alarm_rate": record.false_alarm_rate,
                "share_flagged": flagged / n if n else math.nan,
                "share_flagged_low": low,
                "share_flagged_high": high,
                "expected_low": expected[0] / n if n else math.nan,
                "expected_high": expected[1] / n if n else math.nan,
                "folder_p_value": math.nan if record.folder_p_value is None else record.folder_p_value,
                "mean_p_value": (sums[end] - sums[start]) / (end - start) if end > start else math.nan,
                "log10_martingale": logarithms[end],
                "log10_martingale_highest": highest[end],
                "drift_rate": drift_rate,
                "drift": bool(highest[end] >= -math.log10(drift_rate)),
            }
        )
    return pd.DataFrame(rows)


def lines_of_history(table: pd.DataFrame) -> list[str]:
    """Return the line about the last batch, and one about copies, which do not count for drift."""
    *_, last = table.to_dict("records")
    interval = f"[{last['share_flagged_low']:.1%}, {last['share_flagged_high']:.1%}]"
    share = f"{last['share_flagged']:.1%} flagged {interval}" if last["n_scored"] else "no image scored"
    martingale, alarm = _number(last["log10_martingale"]), _number(-math.log10(last["drift_rate"]))
    found = "no"
    if last["drift"]:
        found = f"yes, since batch {table.loc[table['drift'], 'batch'].iloc[0]}"
    lines = [f"batch {last['batch']}: {share}; drift: {found} (martingale {martingale}, alarm at {alarm})"]
    left_out = last["n_known"] + last["n_copies"]
    if left_out:
        images = f"{left_out:,} of these {last['n_scored']:,} images {plural(left_out, 'does', 'do')} not count"
        lines.append(
            f"{images} for drift: copies of images that the model or its detector was made with "
            f"({last['n_known']:,}), and of earlier images ({last['n_copies']:,})"
        )
    return lines


def metrics_of_batches(table: pd.DataFrame) -> Iterator[tuple[int, pd.Timestamp, dict[str, float]]]:
    """Yield the number, the date and the figures of each batch that are curves over batches."""
    names = ["n_scored", "share_flagged", "share_flagged_low", "share_flagged_high", "folder_p_value"]
    names += ["log10_martingale", "log10_martingale_highest"]
    for row in table.to_dict("records"):
        yield (
            row["batch"],
            pd.Timestamp(row["date"]),
            {name: float(row[name]) for name in names if math.isfinite(row[name])},
        )


def points_of(table: pd.DataFrame) -> list[BatchPoint]:
    """Return the figures of each batch that are drawn."""
    return [
        BatchPoint(
            number=row["batch"],
            date=row["date"],
            share=row["share_flagged"],
            low=row["share_flagged_low"],
            high=row["share_flagged_high"],
            expected_low=row["expected_low"],
            expected_high=row["expected_high"],
            rate=row["false_alarm_rate"],
            log10_martingale=row["log10_martingale"],
            log10_highest=row["log10_martingale_highest"],
        )
        for row in table.to_dict("records")
    ]


class _Stream(NamedTuple):
    """The images of all batches that are no copies of earlier ones, one after the other."""

    scores: Numbers  # (T,), a score that is not a number counts as the highest
    content_hashes: Hashes  # (T,)
    ends: list[int]  # position after the last image of each batch
    n_copies: list[int]  # images left out of each batch


def _stream(batches: Sequence[ScoredBatch], seed: int) -> _Stream:
    """Put all batches in one stream, each in a random order that its images' contents fix."""
    orders = [np.argsort(_uniform(batch.content_hashes, seed, "order"), kind="stable") for batch in batches]
    scores = [batch.scores[order] for batch, order in zip(batches, orders, strict=True)]
    hashes = [batch.content_hashes[order] for batch, order in zip(batches, orders, strict=True)]
    all_hashes = np.concatenate([np.empty(0, dtype=np.int64), *hashes])
    first = np.zeros(len(all_hashes), dtype=bool)
    first[np.unique(all_hashes, return_index=True)[1]] = True
    sizes = np.array([len(batch.scores) for batch in batches], dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(first)])  # images kept before each position
    ends = before[np.cumsum(sizes)]
    kept = np.diff(ends, prepend=0)
    all_scores = np.concatenate([np.empty(0), *scores])[first]
    return _Stream(
        np.where(np.isnan(all_scores), np.inf, all_scores), all_hashes[first], ends.tolist(), (sizes - kept).tolist()
    )


def _uniform(content_hashes: Hashes, seed: int, purpose: str) -> Numbers:
    """Return a uniform number in (0, 1] for each image, which its content, seed and purpose fix."""
    mixed = mix(torch.from_numpy(content_hashes) ^ key(seed, purpose)).numpy()
    bits: NDArray[np.int64] = (mixed >> 11) & (2**53 - 1)
    uniform: Numbers = (bits + 1) / 2.0**53
    return uniform


def _share_interval(k: int, n: int) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share of which k of n were seen."""
    from scipy import stats  # here, because it takes half a second and most commands judge no files

    tail = (1 - COVERAGE) / 2
    low = float(stats.beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(stats.beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return low, high


def _number(log10: float) -> str:
    return f"{10**log10:.3g}" if abs(log10) < MOST_DIGITS else f"10^{log10:.0f}"

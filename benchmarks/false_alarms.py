"""Measure what conformal p-values promise, on held-out images of a stored model: false alarms, false discoveries.

    python benchmarks/false_alarms.py --model <file> --out <set> [--scores density_sum+nll] [--images 2000]

The calibration part of the model's training images, which chose nothing and which nothing was fitted to, is scored and
split at random again and again: about half calibrates, the rest is tested. Prints three tables in Markdown:

1. The share of tested images with p <= 10, 5 and 1%, over 20 and over 1,000 such splits. They share one pool, but the
   ranks of a random split do not depend on its scores: each count is beta-binomial and independent of the others, and
   the standard error of the mean is that distribution's standard deviation over the square root of 20 or 1,000.
2. Mixtures of 150 tested images and outliers of another set, 200 of each share, each with a split of its own: the mean
   share of false ones among those that Benjamini-Hochberg rejects, how often closed testing claims more outliers than
   there are, and how often the list as a whole has p <= 5%.
3. As a finding, not as a check: the publishers' test images and the outliers, judged by the whole calibration part.

Exits with 1 if a mean of the first table is off by more than 3 standard errors, fewer than 16 of 20 or 930 of 1,000
splits are in their 95% interval, or a share of the second is above its limit by more than 2 standard errors.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from glow_pipeline.images.batches import Batches
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.outliers.benchmark.in_sets import draw
from glow_pipeline.outliers.benchmark.out_sets import selection_of
from glow_pipeline.outliers.conformal.benjamini_hochberg import benjamini_hochberg
from glow_pipeline.outliers.conformal.closed_testing import at_least_outliers
from glow_pipeline.outliers.conformal.guarantee import flagged_interval, flagged_ranks
from glow_pipeline.outliers.conformal.list_test import list_p_value
from glow_pipeline.outliers.conformal.p_values import TIE, p_values
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.outliers.scoring import score_table
from glow_pipeline.training.models_with_detectors import ModelWithDetector, read_with_detector
from glow_pipeline.training.parts_of import parts_of

RAW = Path(__file__).parents[1] / "data" / "01_raw"
RATES = (0.1, 0.05, 0.01)
REDRAWS, INSIDE_AT_LEAST = 20, 16
MANY_REDRAWS, MANY_INSIDE_AT_LEAST = 1000, 930
MIXTURES = 200
Q, LEVEL = 0.1, 0.05
LISTED, SHARES = 150, (0.0, 0.05, 0.2)  # files of a mixture, and shares of outliers among them

Redraw = Callable[[], tuple[Numbers, Numbers]]  # the scores of a calibration half, in rising order, and of the rest


class Scored(NamedTuple):
    """Values of one score."""

    held_out: Numbers
    test: Numbers
    out: Numbers


def main() -> None:
    """Print the tables, and exit by the checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="file of a stored model, with a detector beside it")
    parser.add_argument("--out", default="textures", help="images that are no part of the model's")
    parser.add_argument("--scores", default="density_sum", help="scores of the detector, joined by +")
    parser.add_argument("--images", type=int, default=2000, help="test images and outliers at most")
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    names, out = arguments.scores.split("+"), selection_of(arguments.out)
    if out is None:
        parser.error(f"--out {arguments.out}: names no published images")
    judge = read_with_detector(arguments.model, names, draws=1)
    scored = scores_of_sets(judge, names, out, arguments.images, arguments.seed)
    passed = [report(name, each, arguments.seed) for name, each in scored.items()]
    sys.exit(0 if all(passed) else 1)


def scores_of_sets(
    judge: ModelWithDetector, names: list[str], out: ImageSelection, n_images: int, seed: int
) -> dict[str, Scored]:
    """Score the model's calibration part, its test images and outliers, by name of the score."""
    record, detector = judge.model.record, judge.detector
    scores = detector.requested(names)
    with tempfile.TemporaryDirectory() as folder:

        def table(selection: ImageSelection, split: Split) -> ImageTable:
            path = Path(folder) / f"{selection.key}_{split}"
            plan_table(selection, split, record.image_format, RAW).write(path)
            return ImageTable(path)

        inside = record.train_table.image_selection
        held_out = parts_of(record, table(inside, "train")).calibration.table
        others = [draw(table(selection, "test"), n_images, seed) for selection in (inside, out)]
        if judge.model.trained_on is not None:
            others = [images.without(judge.model.trained_on) for images in others]
        values = [
            score_table(
                judge.model.flow.eval(), Batches(images, 256, torch.device("cpu")), scores, detector.record.seed
            )
            for images in (held_out, *others)
        ]
    for score in scores:
        np.testing.assert_allclose(np.sort(values[0][score.column]), detector.calibration[score.name], TIE, TIE)
    return {score.name: Scored(*(each[score.column] for each in values)) for score in scores}


def report(name: str, scored: Scored, seed: int) -> bool:
    """Print the tables of one score, and return whether they keep what was promised."""
    random, pool = np.random.default_rng(seed), scored.held_out
    n = 100 * max(1, round((len(pool) / 2 + 1) / 100)) - 1  # so that each rate is a multiple of 1 / (n + 1)
    if len(pool) < n + LISTED:
        sys.exit(f"{len(pool)} calibration images: too few; train with a higher ingest.calibration_percentage")

    def redraw() -> tuple[Numbers, Numbers]:
        order = random.permutation(len(pool))
        return np.sort(pool[order[:n]]), pool[order[n:]]

    show(f"\n`{name}`: {len(pool)} held-out images, of which {n} calibrate and {len(pool) - n} are tested\n")
    kept = [
        *false_alarms(redraw, n, len(pool) - n),
        *false_discoveries(redraw, scored.out, random),
    ]
    findings(scored)
    return all(kept)


def false_alarms(redraw: Redraw, n: int, m: int) -> Iterator[bool]:
    """Print the realised false alarms, and yield whether each rate is kept."""
    header = "rate", "mean of 20 splits", "of 1,000", "95% interval of one split", "inside, of 20", "inside, of 1,000"
    show(f"| {' | '.join(header)} |\n" + "|---" * len(header) + "|")
    p = np.stack([p_values(*redraw()) for _ in range(MANY_REDRAWS)])
    for rate in RATES:
        flagged, ranks = (p <= rate).sum(axis=1), flagged_ranks(n, rate)
        low, high = flagged_interval(n, m, rate)
        deviation = stats.betabinom.std(m, ranks, n + 1 - ranks) / m
        inside, cells = (low <= flagged) & (flagged <= high), []
        for redraws in (REDRAWS, MANY_REDRAWS):
            mean, error = flagged[:redraws].mean() / m, deviation / math.sqrt(redraws)
            off = (mean - ranks / (n + 1)) / error
            cells.append(f"{percent(mean)} ({off:+.1f} standard errors)")
            yield abs(off) <= 3
        within = [int(inside[:redraws].sum()) for redraws in (REDRAWS, MANY_REDRAWS)]
        cells += [f"{percent(low / m)} to {percent(high / m)}", *map(str, within)]
        show(f"| {rate:.0%} | {' | '.join(cells)} |")
        yield within[0] >= INSIDE_AT_LEAST and within[1] >= MANY_INSIDE_AT_LEAST


def false_discoveries(redraw: Redraw, out: Numbers, random: np.random.Generator) -> Iterator[bool]:
    """Print what is said of mixtures, and yield whether each guarantee is kept."""
    show(
        f"\n| outliers among {LISTED} files | false among the rejected at q = {Q:.0%} | rejected outliers "
        f"| claimed at least | claimed too many | list p <= {LEVEL:.0%} |\n" + "|---" * 6 + "|"
    )
    for share in SHARES:
        n_out = round(share * LISTED)
        rows = [mixture(*redraw(), random.choice(out, n_out, replace=False), LISTED - n_out) for _ in range(MIXTURES)]
        false, found, claimed, list_p = np.array(rows).T
        error = false.std(ddof=1) / math.sqrt(MIXTURES)
        too_many, unlike = (claimed > n_out).mean(), (list_p <= LEVEL).mean()
        level_error = math.sqrt(LEVEL * (1 - LEVEL) / MIXTURES)
        rejected = f"{found.mean():.0%}" if n_out else "-"
        show(
            f"| {n_out} | {percent(false.mean())} (standard error {percent(error)}) | {rejected} "
            f"| {claimed.mean():.1f} | {percent(too_many)} | {percent(unlike)} |"
        )
        yield false.mean() <= Q + 2 * error
        yield too_many <= LEVEL + 2 * level_error
        if not n_out:
            yield unlike <= LEVEL + 2 * level_error


def mixture(calibration: Numbers, inside: Numbers, outside: Numbers, n_in: int) -> NDArray[np.float64]:
    """Return of one list the shares of false ones among the rejected and of outliers found, the bound, and its p."""
    scores = np.concatenate([inside[:n_in], outside])
    p = p_values(calibration, scores)
    rejected = benjamini_hochberg(p, Q)
    false, found = rejected[:n_in].sum(), rejected[n_in:].sum()
    list_p = list_p_value(calibration, scores)
    return np.array(
        [
            false / max(1, false + found),
            found / max(1, len(outside)),
            at_least_outliers(p, len(calibration), LEVEL),
            list_p,
        ]
    )


def findings(scored: Scored) -> None:
    """Print the shares of test images and of outliers that the whole calibration part calls outliers."""
    calibration, m = np.sort(scored.held_out), len(scored.test)
    p_test, p_out = p_values(calibration, scored.test), p_values(calibration, scored.out)
    show(
        f"\n| rate | of {m} test images | 95% interval if they were like the calibration images "
        f"| of {len(scored.out)} outliers |\n" + "|---" * 4 + "|"
    )
    for rate in RATES:
        low, high = flagged_interval(len(calibration), m, rate)
        show(
            f"| {rate:.0%} | {percent((p_test <= rate).mean())} | {percent(low / m)} to {percent(high / m)} "
            f"| {percent((p_out <= rate).mean())} |"
        )
    show(f"\nThe test images as a whole: p = {list_p_value(calibration, scored.test):.2g}.")


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.2f}%"


def show(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

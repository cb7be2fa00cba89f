"""Reasons to doubt the verdicts on a list of files, one sentence each."""

from collections.abc import Iterator

import pandas as pd

from glow_pipeline.counting import plural
from glow_pipeline.images.content_sets import are_among, distinct
from glow_pipeline.images.file_formats import FileFormats
from glow_pipeline.outliers.conformal.benjamini_hochberg import fewest_rejections
from glow_pipeline.outliers.conformal.guarantee import flagged_interval, flagged_ranks
from glow_pipeline.outliers.detector import Detector, Hashes
from glow_pipeline.verdict.columns import BH, CALIBRATION, COPY_OF, P_VALUE, TRAINING
from glow_pipeline.verdict.other_files import other_files
from glow_pipeline.verdict.sentences import files_are, p_is, percent

END = 0.1  # share of the p-values at either end that is compared with what is expected there
UNLIKE = 0.01  # p-value of a list as a whole at and below which it is warned of
FEW_COPIES = 0.01  # share of the calibration images: so many change rates by as small a share of themselves


def doubts(
    scored: pd.DataFrame, n: int, calibration_files: FileFormats | None, folder_p_value: float | None, q: float
) -> list[str]:
    """Return what speaks against the guarantees, with numbers.

    Args:
        scored: the files with a score, with `columns`.
        n: calibration images.
        calibration_files: formats of the files or arrays that they are from; None: unknown.
        folder_p_value: of the list as a whole; None: there is none.
        q: false-discovery rate of Benjamini-Hochberg.
    """
    new = scored[scored[COPY_OF].isna()]
    return [
        *other_files(scored, calibration_files),
        *copies(scored),
        *piles(new, n),
        *whole_list(len(new), n, folder_p_value),
        *silence(scored, n, q),
    ]


def copies(scored: pd.DataFrame) -> Iterator[str]:
    """Yield what exact copies do to the verdicts."""
    of, m = scored[COPY_OF].dropna(), len(scored)
    counts = {kind: int((of == kind).sum()) for kind in (TRAINING, CALIBRATION)}
    repeated = len(of) - sum(counts.values())
    if count := counts[TRAINING]:
        copied = plural(count, "an exact copy of a training image", "exact copies of training images")
        yield (
            f"{files_are(count, m)} {copied}: the model knows such images, so that their p-values tend to "
            f"be too high and their verdicts say little."
        )
    if count := counts[CALIBRATION]:
        copied = plural(count, "an exact copy of a calibration image", "exact copies of calibration images")
        yield f"{files_are(count, m)} {copied}, which count as images that belong: such p-values are no evidence."
    if repeated:
        copied = plural(repeated, "an exact copy", "exact copies")
        yield (
            f"{files_are(repeated, m)} {copied} of another file of the list: each has its verdict, and as evidence "
            f"that files do not belong an image counts once."
        )


def piles(new: pd.DataFrame, n: int) -> Iterator[str]:
    """Yield what p-values say that are piled at both ends, or at the upper end alone.

    Args:
        new: scored files that are no copies.
        n: calibration images.
    """
    m, ranks = len(new), flagged_ranks(n, END)
    if not m or not ranks:
        return
    expected = ranks / (n + 1)
    low = int((new[P_VALUE] <= END).sum())
    high = int((new[P_VALUE] > 1 - expected + 0.5 / (n + 1)).sum())  # the upper k of the n + 1 possible p-values
    many = flagged_interval(n, m, END)[1]
    found = f"{low / m:.0%} of the p-values are at the low end and {high / m:.0%} at the high end"
    if low > many and high > many:
        yield (
            f"{found}, where {expected:.0%} each are expected: the scores spread more widely than those of the "
            f"calibration images, as of several kinds of images or of files that were processed differently; for such "
            f"files the false-alarm rate does not hold."
        )
    elif high > flagged_interval(n, m, END, coverage=0.999)[1]:
        yield (
            f"{high / m:.0%} of the p-values are at the high end, where {expected:.0%} are expected: the files are "
            f"more typical than the calibration images, as near copies of training images and smoothed images are, or "
            f"there are outliers among the calibration images; fewer files are called outliers than should be."
        )


def whole_list(m: int, n: int, folder_p_value: float | None) -> Iterator[str]:
    """Yield that the list as a whole is unlike the calibration images."""
    if m > 1 and folder_p_value is not None and folder_p_value <= UNLIKE:
        yield (
            f"The {m:,} files as a whole are unlike the {n:,} calibration images ({p_is(folder_p_value)}): if most "
            f"should belong, they come from another source or were processed differently, and the false-alarm rate "
            f"does not hold for them."
        )


def silence(scored: pd.DataFrame, n: int, q: float) -> Iterator[str]:
    """Yield that Benjamini-Hochberg could not mark files that are as suspicious as can be."""
    m, fewest = len(scored), fewest_rejections(len(scored), n, q)
    extreme = int((scored[P_VALUE] < 1.5 / (n + 1)).sum())
    if 0 < extreme < fewest and not scored[BH].astype(bool).any():
        yield (
            f"Benjamini-Hochberg (outlier_bh: of the files that it marks {percent(q)} at most are false alarms, on "
            f"average) marks no file: with {n:,} calibration images it marks {fewest:,} of {m:,} files at least or "
            f"none, and {extreme:,} {plural(extreme, 'has', 'have')} the smallest possible p-value. That does not mean "
            f"that there is no outlier."
        )


def unknown_training(trained_on: Hashes | None) -> Iterator[str]:
    """Yield that copies of training images cannot be known; `trained_on` is as `calibration_images` takes it."""
    if trained_on is None:
        yield (
            "The model is of an earlier version, whose record does not say which images it was trained on: copies of "
            "these are not marked, and may be among the calibration images."
        )


def calibration_images(detector: Detector, trained_on: Hashes | None) -> Iterator[str]:
    """Yield why the calibration images are no sample of images that are new to the model.

    Args:
        detector: has their content hashes, and those of the images that its scores are fitted on.
        trained_on: content hashes of the images that the model was trained on; None: unknown.
    """
    hashes = detector.calibration_hashes
    n, n_distinct = len(hashes), len(distinct([hashes]))
    seen = int(are_among(hashes, [detector.validation_hashes, *([] if trained_on is None else [trained_on])]).sum())
    others = "calibrate with others (kedro run --pipelines calibrate --params calibrate.path=<folder>)"
    if seen > FEW_COPIES * n:
        copied = plural(seen, "is an exact copy of an image", "are exact copies of images")
        yield (
            f"{seen:,} of the {n:,} calibration images {copied} from which the model or its scores have learned, so "
            f"that p-values tend to be too low and more files are called outliers than should be; {others}."
        )
    if n - n_distinct > FEW_COPIES * n:
        yield (
            f"The {n:,} calibration images are {n_distinct:,} different {plural(n_distinct, 'one', 'ones')} and exact "
            f"copies of {plural(n_distinct, 'it', 'them')}: neither p-values nor rates are guaranteed, and no p-value "
            f"below {1 / (n_distinct + 1):.3g} can be believed; {others}."
        )

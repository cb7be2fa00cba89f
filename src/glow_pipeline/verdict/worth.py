"""The worth of a list of verdicts: its guarantees, and the reasons to doubt them."""

from collections.abc import Iterator

import pandas as pd
from pydantic import BaseModel, ConfigDict

from glow_pipeline.counting import plural
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.conformal.benjamini_hochberg import fewest_rejections
from glow_pipeline.outliers.conformal.closed_testing import at_least_outliers
from glow_pipeline.outliers.conformal.guarantee import false_alarm_bound, flagged_ranks, images_needed, smallest_p
from glow_pipeline.outliers.conformal.list_test import list_p_value
from glow_pipeline.outliers.detector import Detector, Hashes
from glow_pipeline.parameters.score import ScoreParameters
from glow_pipeline.verdict.columns import BH, COPY_OF, OUTLIER, P_VALUE, VERDICT
from glow_pipeline.verdict.doubts import UNLIKE, calibration_images, doubts, unknown_training
from glow_pipeline.verdict.sentences import p_is, percent


class Worth(BaseModel):
    """The guarantees of a list of verdicts, and the reasons to doubt them.

    Attributes:
        n_files, n_scored, n_unreadable: files in the list, with and without a score.
        n_outliers, n_outliers_bh: files with the verdict outlier; those that Benjamini-Hochberg rejects.
        n_calibration: calibration images.
        false_alarm_rate: `score.false_alarm_rate`.
        false_alarm_bound: upper bound of this calibration set's rate, with 90% confidence.
        smallest_p: p-value that no image can go below.
        false_discovery_rate: `score.false_discovery_rate`, of Benjamini-Hochberg.
        bh_fewest: the fewest files that Benjamini-Hochberg can reject, if it rejects any.
        at_least_outliers: lower bound of the number of files that do not belong, with 95% confidence; copies are
            left out, since an image that is there twice is no further evidence.
        folder_p_value: of the hypothesis that the whole list is like the calibration images; None: no file of it is
            new, as all are copies of images of the model, or none is scored, or nothing is guaranteed.
        guaranteed: whether the calibration images are a sample of images that are new to the model, without which
            no rate and no confidence holds, so that `at_least_outliers` is 0.
        warnings: one sentence each.
    """

    model_config = ConfigDict(frozen=True)

    n_files: int
    n_scored: int
    n_unreadable: int
    n_outliers: int
    n_outliers_bh: int
    n_calibration: int
    false_alarm_rate: float
    false_alarm_bound: float
    smallest_p: float
    false_discovery_rate: float
    bh_fewest: int
    at_least_outliers: int
    folder_p_value: float | None
    guaranteed: bool = True
    warnings: list[str] = []


def worth_of(
    files: pd.DataFrame, detector: Detector, main: str, parameters: ScoreParameters, trained_on: Hashes | None
) -> Worth:
    """Return what the verdicts on a list of files are worth.

    Args:
        files: the table of scored files, with `columns`.
        detector: that judged them.
        main: name of the score that carries the verdict.
        parameters: of the verdicts.
        trained_on: content hashes of the images that the model was trained on; None: unknown.
    """
    calibration = detector.calibration[main]
    (score,) = detector.requested([main])
    scored = files[files[P_VALUE].notna()]
    new = scored[scored[COPY_OF].isna()]
    n, m = len(calibration), len(scored)
    rate, q = parameters.false_alarm_rate, parameters.false_discovery_rate
    n_outliers_bh = int(scored[BH].astype(bool).sum())
    no_sample = list(calibration_images(detector, trained_on))
    folder_p_value = None if no_sample else list_p_value(calibration, new[score.column].to_numpy(float))
    return Worth(
        n_files=len(files),
        n_scored=m,
        n_unreadable=len(files) - m,
        n_outliers=int((scored[VERDICT] == OUTLIER).sum()),
        n_outliers_bh=n_outliers_bh,
        n_calibration=n,
        false_alarm_rate=rate,
        false_alarm_bound=false_alarm_bound(n, rate),
        smallest_p=smallest_p(n),
        false_discovery_rate=q,
        bh_fewest=fewest_rejections(m, n, q),
        at_least_outliers=0 if no_sample else at_least_outliers(new[P_VALUE].to_numpy(float), n, rate),
        folder_p_value=folder_p_value,
        guaranteed=not no_sample,
        warnings=[
            *doubts(scored, n, detector.record.calibration_files, folder_p_value, q),
            *unknown_training(trained_on),
            *no_sample,
        ],
    )


def check_enough(n_calibration: int, rate: float) -> None:
    """Check that a p-value can be as low as the false-alarm rate.

    Args:
        n_calibration: calibration images of the detector.
        rate: `score.false_alarm_rate`.

    Raises:
        GlowPipelineError: it cannot, and no image would ever be called an outlier.
    """
    needed = images_needed(rate)
    if n_calibration < needed:
        raise GlowPipelineError(
            f"score.false_alarm_rate={rate:g}: needs {needed:,} calibration images at least, and the detector has "
            f"{n_calibration:,}, with which no p-value is below {smallest_p(n_calibration):.3g}; raise "
            f"score.false_alarm_rate, calibrate with more images (kedro run --pipelines calibrate --params "
            f"dataset=<the model's>,calibrate.path=<folder>), or train with a higher ingest.calibration_percentage"
        )


def lines_of_worth(worth: Worth) -> list[str]:
    """Return the verdict on the list and its guarantees, one or two sentences a line; the warnings are apart."""
    lines = [_verdict(worth)]
    if worth.n_scored:
        lines += [_false_alarms(worth), *_about_list(worth)]
    return lines


def _verdict(worth: Worth) -> str:
    apart = f"; {worth.n_unreadable:,} could not be read" if worth.n_unreadable else ""
    return (
        f"Of {worth.n_files:,} {plural(worth.n_files, 'file', 'files')} {worth.n_outliers:,} "
        f"{plural(worth.n_outliers, 'is an outlier', 'are outliers')} at a false-alarm rate of "
        f"{percent(worth.false_alarm_rate)}{apart}."
    )


def _false_alarms(worth: Worth) -> str:
    if not worth.guaranteed:
        return (
            f"False alarms: no rate is guaranteed, since the {worth.n_calibration:,} calibration images are no sample "
            f"of images that are new to the model (see the warnings)."
        )
    rate, ranks = percent(worth.false_alarm_rate), flagged_ranks(worth.n_calibration, worth.false_alarm_rate)
    expected = worth.n_scored * ranks / (worth.n_calibration + 1)  # may be less than the rate: p-values have steps
    number = f"{expected:,.0f}" if expected >= 10 else f"{expected:.2g}"
    in_list = f" If all files belonged, about {number} of the {worth.n_scored:,} would be called outliers."
    return (
        f"False alarms: {rate} at most of the images that are like the {worth.n_calibration:,} calibration images, on "
        f"average over calibration sets, and {percent(worth.false_alarm_bound)} at most with this one, with 90% "
        f"confidence.{in_list if worth.n_scored > 1 else ''}"
    )


def _about_list(worth: Worth) -> Iterator[str]:
    """Yield what is known of the files together, if anything is."""
    count, found = worth.at_least_outliers, []
    if count:
        found.append(f"At least {count:,} {plural(count, 'file does', 'files do')} not belong, with 95% confidence")
    elif worth.n_outliers and worth.guaranteed:
        outliers = plural(worth.n_outliers, "this outlier is a false alarm", "all of these outliers are false alarms")
        found.append(f"That {outliers} cannot be ruled out with 95% confidence")
    if worth.folder_p_value is not None and worth.n_scored > 1:
        shown = "unlike" if worth.folder_p_value <= UNLIKE else "not shown to be unlike"
        found.append(f"the files as a whole are {shown} the calibration images ({p_is(worth.folder_p_value)})")
    if found:
        sentence = "; ".join(found)
        yield f"{sentence[0].upper()}{sentence[1:]}."

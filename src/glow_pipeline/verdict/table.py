"""The table of verdicts: one row a file, the most suspicious first."""

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from glow_pipeline.images.content_sets import are_among, distinct
from glow_pipeline.images.sources.names import printable
from glow_pipeline.outliers.conformal.benjamini_hochberg import benjamini_hochberg
from glow_pipeline.outliers.detector import Hashes
from glow_pipeline.parameters import ScoreParameters
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.judge import Judge

NAMED = 5  # files in the closing lines
OF_FILE = (columns.WIDTH, columns.HEIGHT, columns.KIND, columns.COLOURS)


def verdict_table(file_scores: pd.DataFrame, judge: Judge, parameters: ScoreParameters) -> pd.DataFrame:
    """Return the table of verdicts, with the columns of `columns.py`.

    Rows are in the order of rising p-values, then of falling scores, then of the list; unreadable files come last.

    Args:
        file_scores: one row a file, in the order of the list, as `score_files` of file_parts.py returns it.
        judge: the judge that scored them.
        parameters: of the verdicts: an image is an outlier if its p-value is at most `false_alarm_rate`.
    """
    readable = file_scores[columns.UNREADABLE].isna()
    p_values = file_scores[columns.P_VALUE].to_numpy()
    outlier = p_values <= parameters.false_alarm_rate
    bh = pd.Series(pd.NA, index=file_scores.index, dtype="boolean")
    bh[readable] = benjamini_hochberg(p_values[readable], parameters.false_discovery_rate)
    verdict = np.where(readable, np.where(outlier, columns.OUTLIER, columns.NORMAL), columns.NO_VERDICT)
    copies = copies_of(file_scores[columns.CONTENT], file_scores[columns.FILE], judge)
    scores = [score.column for score in judge.requested]
    table = pd.DataFrame(
        {
            columns.FILE: file_scores[columns.FILE].array,
            columns.VERDICT: pd.array(verdict, dtype="string"),
            columns.P_VALUE: p_values,
            **{name: file_scores[name].array for name in scores},
            columns.BH: bh.array,
            columns.AS_OUTLYING: file_scores[columns.AS_OUTLYING].array,
            columns.COPY_OF: copies,
            columns.REASON: file_scores[columns.REASON].array,
            columns.UNREADABLE: file_scores[columns.UNREADABLE].array,
            **{name: file_scores[name].array for name in OF_FILE},
        }
    )
    falling = -table[scores[0]].fillna(np.inf)  # a score that is not a number counts as the highest
    order = np.lexsort((falling, table[columns.P_VALUE]))
    return table.iloc[order].reset_index(drop=True)


def copies_of(hashes: pd.Series, files: pd.Series, judge: Judge) -> ExtensionArray:
    """Return for each file of what it is an exact copy after preparation; missing where of nothing.

    Args:
        hashes: of the prepared images, missing for unreadable files.
        files: the files' names.
    """
    present = hashes.notna().to_numpy()
    known = hashes.fillna(0).to_numpy(dtype=np.int64)
    copies = pd.Series(pd.NA, index=range(len(files)), dtype="string")
    first = pd.Series(range(len(files))).groupby(known).transform("first").to_numpy()
    again = present & (first != np.arange(len(files)))
    copies[again] = files.array[first[again]]
    for name, seen in seen_by(judge).items():
        copies[present & are_among(known, [seen])] = name
    return copies.array


def seen_by(judge: Judge) -> dict[str, Hashes]:
    """Return the content hashes of the images that a model and its detector know, by what they are to them."""
    detector, trained_on = judge.detector, judge.model.trained_on
    training = [hashes for hashes in (trained_on, detector.validation_hashes) if hashes is not None]
    return {columns.CALIBRATION: detector.calibration_hashes, columns.TRAINING: distinct(training)}


def most_suspicious(table: pd.DataFrame) -> list[str]:
    """Return lines about the five most suspicious files of a table of verdicts."""
    scored = table[table[columns.UNREADABLE].isna()].head(NAMED)
    score = score_columns(table)[0]
    lines = ["The most suspicious files:"] if len(scored) else []
    for row in scored.to_dict("records"):
        reason = f": {row[columns.REASON]}" if row[columns.REASON] else ""
        original = row[columns.COPY_OF]
        copy = "" if pd.isna(original) else f" (exact copy: {printable(original)})"
        file = f"{printable(row[columns.FILE])}{copy}"
        lines.append(
            f"  p {row[columns.P_VALUE]:.4g}  {score} {row[score]:.4g}  {row[columns.VERDICT]}  {file}{reason}"
        )
    return lines


def score_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of the scores of a table of verdicts, the main one first."""
    names = list(table.columns)
    return names[names.index(columns.P_VALUE) + 1 : names.index(columns.BH)]

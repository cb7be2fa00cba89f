"""A batch of scored images: what a `score` command adds to the history of its detector."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from glow_pipeline.outliers.detector import Hashes
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.verdict import columns


class BatchRecord(BaseModel):
    """The record of a batch.

    Attributes:
        session: the session that scored it; batches are in the order of their sessions.
        date: when it was scored.
        images: their folder, file or pattern, as typed.
        n_scored, n_unreadable: files with and without a score.
        n_known: scored files that are copies of images which the model or its detector was made with.
        n_flagged: those with the verdict outlier at `false_alarm_rate`.
        folder_p_value: of the hypothesis that the whole list is like the calibration images; None: not computed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: str
    date: datetime
    images: str
    n_scored: int
    n_unreadable: int
    n_known: int
    n_flagged: int
    false_alarm_rate: float
    folder_p_value: float | None = None


@dataclass(frozen=True)
class ScoredBatch:
    """A batch of scored images; copies of images that the model or its detector was made with are left out.

    Attributes:
        scores: main score of each image (n,).
        content_hashes: of each prepared image (n,).
    """

    record: BatchRecord
    scores: Numbers
    content_hashes: Hashes


class Occasion(NamedTuple):
    """When and of what a batch was scored.

    Attributes:
        session, date, images: as in `BatchRecord`.
    """

    session: str
    date: datetime
    images: str


def batch_of(
    file_scores: pd.DataFrame,
    score: str,
    known: Hashes,
    occasion: Occasion,
    false_alarm_rate: float,
    folder_p_value: float | None,
) -> ScoredBatch:
    """Return the batch of the files of a command.

    Args:
        file_scores: one row a file, as `score_files` of file_parts.py returns it.
        score: column of the main score.
        known: content hashes of the images that the model or its detector was made with.
        occasion: the command.
        false_alarm_rate: an image is flagged if its p-value is at most this.
        folder_p_value: as in `BatchRecord`.
    """
    scored = file_scores[file_scores[columns.UNREADABLE].isna()]
    content_hashes = scored[columns.CONTENT].to_numpy(dtype=np.int64)
    new = ~np.isin(content_hashes, known)
    record = BatchRecord(
        **occasion._asdict(),
        n_scored=len(scored),
        n_unreadable=len(file_scores) - len(scored),
        n_known=int((~new).sum()),
        n_flagged=int((scored[columns.P_VALUE] <= false_alarm_rate).sum()),
        false_alarm_rate=false_alarm_rate,
        folder_p_value=folder_p_value,
    )
    return ScoredBatch(record, scored[score].to_numpy(dtype=np.float64)[new], content_hashes[new])

"""Batches of scored images, as commands would add them."""

from datetime import UTC, datetime, timedelta

import numpy as np

from glow_pipeline.outliers.detector import Hashes
from glow_pipeline.outliers.scores.score import Numbers
from glow_pipeline.verdict.batch import BatchRecord, ScoredBatch


def scored_batch(number: int, scores: Numbers, content_hashes: Hashes | None = None, **values: object) -> ScoredBatch:
    """Return the batch of a day, whose images are no copies unless hashes are given."""
    if content_hashes is None:
        content_hashes = np.random.default_rng(number).integers(-(2**63), 2**63 - 1, len(scores))
    date = datetime(2026, 11, 1, 9, tzinfo=UTC) + timedelta(days=number)
    fields = {
        "session": date.strftime("%Y-%m-%dT%H.%M.%S.000Z"),
        "date": date,
        "images": f"day {number}",
        "n_scored": len(scores),
        "n_unreadable": 0,
        "n_known": 0,
        "n_flagged": 0,
        "false_alarm_rate": 0.05,
        "folder_p_value": 0.5,
    }
    return ScoredBatch(BatchRecord.model_validate({**fields, **values}), scores, content_hashes)

"""Reports on made-up files, for tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from glow_pipeline.outliers.conformal.p_values import as_outlying, p_values
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.scores.registry import SCORES
from glow_pipeline.parameters.score import ScoreParameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.judge import Explanation
from glow_pipeline.verdict.report import Report
from glow_pipeline.verdict.shown import ShownImage
from glow_pipeline.verdict.worth import worth_of
from tests.conftest import model_record

SCORE = SCORES["nll"]
CALIBRATION = np.arange(199) / 100
SESSION = "2026-11-26T23.40.35.368Z"
NO_HASHES = np.empty(0, dtype=np.int64)


def table(scores: Sequence[float], unreadable: Sequence[tuple[str, str]] = (), **changed: Any) -> pd.DataFrame:
    """The table of files a0.png, a1.png, ... with these scores, highest first, and of unreadable files."""
    values = np.sort(np.array(scores, dtype=float))[::-1]
    n = len(values)
    p = p_values(CALIBRATION, values)
    none = [None] * len(unreadable)
    made = {
        columns.FILE: [*(f"/scans/a{i}.png" for i in range(n)), *(name for name, _ in unreadable)],
        columns.VERDICT: [*np.where(p <= 0.05, columns.OUTLIER, columns.NORMAL), *([columns.NO_VERDICT] * len(none))],
        columns.P_VALUE: np.append(p, [np.nan] * len(none)),
        SCORE.column: np.append(values, [np.nan] * len(none)),
        columns.BH: pd.array([*(p <= 0.01), *none], dtype="boolean"),
        columns.AS_OUTLYING: pd.array([*as_outlying(CALIBRATION, values), *none], dtype="Int64"),
        columns.COPY_OF: pd.array([*([None] * n), *none], dtype="string"),
        columns.REASON: pd.array([*(f"brighter than {i}" for i in range(n)), *none], dtype="string"),
        columns.UNREADABLE: pd.array([*([None] * n), *(reason for _, reason in unreadable)], dtype="string"),
        **{name: pd.array([None] * (n + len(none)), dtype="string") for name in (columns.KIND, columns.COLOURS)},
        **{name: pd.array([*([8] * n), *none], dtype="Int64") for name in (columns.WIDTH, columns.HEIGHT)},
    }
    return pd.DataFrame({**made, **changed})


def shown(rows: Sequence[int], explained: bool = True) -> list[ShownImage]:
    """Images of these rows, each with its row's number as its level of grey, below 16."""
    images = []
    for row in rows:
        image = np.full((1, 8, 8), row % 16, dtype=np.uint8)
        surprise = np.where(np.arange(64).reshape(8, 8) < 16, 0.995, 0.5)
        explanation = Explanation("brighter", surprise, np.zeros((3, 1, 8, 8), dtype=np.uint8)) if explained else None
        images.append(ShownImage(row, image, explanation))
    return images


def report(scored: pd.DataFrame, shown: Sequence[ShownImage] = (), **changed: Any) -> Report:
    """The report on these files, with other parts as given."""
    detector = Detector(
        {SCORE.name: SCORE},
        {SCORE.name: CALIBRATION},
        DetectorRecord(model_sha256="ab12", codecs={"png": "13"}, provenance=Provenance(kedro_session=SESSION)),
    )
    parts = {
        "images": "scans",
        "scored": scored,
        "worth": worth_of(scored, detector, SCORE.name, ScoreParameters(false_alarm_rate=0.05), NO_HASHES),
        "shown": shown,
        "model": model_record(),
        "detector": detector,
        "score": SCORE,
        "made_in": Provenance(
            kedro_session=SESSION, git_commit="1f2e", command="kedro run --pipelines score", versions={"torch": "2"}
        ),
    }
    return Report(**{**parts, **changed})

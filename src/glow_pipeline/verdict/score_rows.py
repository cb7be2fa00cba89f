"""Rows of images that were scored one by one, before they are judged together: one row an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glow_pipeline.images.file_formats import FileFormat
from glow_pipeline.images.findings import Findings
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.judge import Judge, Judged

STAMPS = (columns.SIZE, columns.MODIFIED, columns.CHANGED)
TEXTS = (columns.KIND, columns.COLOURS, columns.REASON, columns.UNREADABLE, columns.FINDINGS)
NUMBERS = (*STAMPS, columns.CONTENT, columns.WIDTH, columns.HEIGHT, columns.AS_OUTLYING)

Rows = NDArray[np.int64]


def frame_of(judge: Judge, values: dict[str, Any], rows: Rows) -> pd.DataFrame:
    """Return a table of these columns with the types that every part has; absent values are missing.

    Args:
        judge: of the scores.
        values: column -> (n,).
        rows: the index (n,), positions in the list.
    """
    types = {columns.PATH: "object", **dict.fromkeys(NUMBERS, "Int64"), columns.P_VALUE: "float64"}
    types |= {score.column: "float64" for score in judge.requested} | dict.fromkeys(TEXTS, "string")
    given = {name: _array(values.get(name), len(rows)) for name in types}
    return pd.DataFrame({name: pd.Series(given[name], index=rows, dtype=kind) for name, kind in types.items()})


def values_of(judged: Judged, formats: Sequence[FileFormat]) -> dict[str, Any]:
    """Return the columns that judging and decoding give."""
    return {
        columns.CONTENT: judged.content_hashes,
        columns.WIDTH: [file.width for file in formats],
        columns.HEIGHT: [file.height for file in formats],
        columns.KIND: [file.kind for file in formats],
        columns.COLOURS: [file.colours for file in formats],
        **judged.scores,
        columns.P_VALUE: judged.p_values,
        columns.AS_OUTLYING: judged.as_outlying,
        columns.REASON: judged.reasons,
    }


def findings_as_json(findings: Findings) -> str | None:
    """Return the value of the column `FINDINGS`."""
    return None if findings == Findings() else findings.model_dump_json(exclude_defaults=True)


def findings_of(file_scores: pd.DataFrame) -> Findings:
    """Return what was found in all files together."""
    together = Findings()
    for found in file_scores[columns.FINDINGS].dropna():
        together.add(Findings.model_validate_json(found))
    return together


def contents_of(file_scores: pd.DataFrame) -> dict[str, int]:
    """Return the content hash of each scored file's prepared image, by the file's name in the table."""
    scored = file_scores[file_scores[columns.UNREADABLE].isna()]
    return dict(zip(scored[columns.FILE].tolist(), scored[columns.CONTENT].tolist(), strict=True))


def _array(values: Any, n: int) -> Any:
    """Return a column without an index of its own; one that is missing as missing values."""
    if values is None:
        return [None] * n
    return values.array if isinstance(values, pd.Series) else values

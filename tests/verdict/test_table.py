"""The table of verdicts: order, copies, verdicts, and its CSV."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glow_pipeline.outliers.conformal.p_values import as_outlying, p_values
from glow_pipeline.parameters import ScoreParameters
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.judge import Judge
from glow_pipeline.verdict.table import most_suspicious, verdict_table
from tests.verdict.judges import NLL, nll_judge


@pytest.fixture(scope="module")
def judge() -> Judge:
    return nll_judge()


def file_scores(judge: Judge, scores: list[float | None], **values: list[Any]) -> pd.DataFrame:
    """The scores of files named by letters; None: unreadable."""
    numbers = np.array([np.nan if score is None else score for score in scores])
    unreadable = [None if score is not None else "damaged" for score in scores]
    present = ~np.isnan(numbers)
    frame = pd.DataFrame(
        {
            columns.FILE: pd.Series([f"/scans/{chr(97 + i)}.png" for i in range(len(scores))], dtype="string"),
            columns.CONTENT: pd.Series(range(len(scores)), dtype="Int64").where(present),
            columns.P_VALUE: np.where(present, p_values(judge.calibration, numbers), np.nan),
            NLL: numbers,
            columns.AS_OUTLYING: pd.Series(as_outlying(judge.calibration, numbers), dtype="Int64").where(present),
            columns.REASON: pd.Series(["brighter" if here else None for here in present], dtype="string"),
            columns.UNREADABLE: pd.Series(unreadable, dtype="string"),
            **{name: pd.Series(["PNG"] * len(scores), dtype="string") for name in (columns.KIND, columns.COLOURS)},
            **{name: pd.Series([8] * len(scores), dtype="Int64") for name in (columns.WIDTH, columns.HEIGHT)},
        }
    )
    return frame.assign(**{name: pd.Series(given, dtype=frame[name].dtype) for name, given in values.items()})


def table_of(judge: Judge, scores: list[float | None], rate: float = 0.05, **values: list[Any]) -> pd.DataFrame:
    return verdict_table(file_scores(judge, scores, **values), judge, ScoreParameters(false_alarm_rate=rate))


def letters(table: pd.DataFrame) -> str:
    return "".join(name.split("/")[-1][0] for name in table[columns.FILE])


def test_most_suspicious_files_come_first(judge: Judge) -> None:
    low, high = judge.calibration[0] - 1, judge.calibration[-1] + 1
    table = table_of(judge, [low, None, high, high + 5, np.inf, low, high])
    assert letters(table) == "edcgafb"
    assert table[columns.VERDICT].tolist() == ["outlier"] * 4 + ["normal"] * 2 + ["unreadable"]


def test_score_not_a_number_counts_as_highest(judge: Judge) -> None:
    high = float(judge.calibration[-1]) + 1
    scores = file_scores(judge, [high, high + 5, high])
    scores.loc[2, NLL] = np.nan
    assert letters(verdict_table(scores, judge, ScoreParameters())) == "cba"


def test_verdict_holds_at_exactly_the_rate(judge: Judge) -> None:
    at = float(judge.calibration[-4])  # four of 99 calibration images are as outlying
    for rate, verdict in ((0.05, "outlier"), (0.0499, "normal")):
        table = table_of(judge, [at], rate)
        assert table[columns.P_VALUE].tolist() == [0.05]
        assert table[columns.VERDICT].tolist() == [verdict]


def test_copies_name_what_they_are_of(judge: Judge) -> None:
    calibration = int(judge.detector.calibration_hashes[0])
    table = table_of(judge, [0.0, 0.0, None, 0.0, 0.0], content_hash=[5, calibration, None, 5, 6])
    copies = dict(zip(letters(table), table[columns.COPY_OF], strict=True))
    assert copies["b"] == columns.CALIBRATION
    assert copies["d"] == "/scans/a.png"
    assert [name for name in copies if pd.isna(copies[name])] == ["a", "e", "c"]


def test_columns_are_those_documented(judge: Judge) -> None:
    assert list(table_of(judge, [0.0, None])) == [
        *("file", "verdict", "p_value", NLL, "outlier_bh", "calibration_at_least_as_outlying", "copy_of", "reason"),
        *("unreadable", "width", "height", "kind", "colours"),
    ]


def test_csv_keeps_odd_names(judge: Judge) -> None:
    names = ['/s/a,"b".png', "/s/two\nlines.png", "/s/ümläut;\t#=.png"]
    table = table_of(judge, [0.0, 1.0, 2.0], file=names)
    read = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert sorted(read[columns.FILE]) == sorted(names)
    assert read[columns.P_VALUE].tolist() == table[columns.P_VALUE].tolist()


def test_closing_lines_name_five_files(judge: Judge) -> None:
    table = table_of(judge, [*map(float, range(7)), None], file=[f"/s/{i}\n.png" for i in range(8)])
    lines = most_suspicious(table)
    assert len(lines) == 6
    assert not any("\n" in line for line in lines)
    assert "/s/6\\n.png: brighter" in lines[1]


def test_closing_lines_name_copies(judge: Judge) -> None:
    calibration = int(judge.detector.calibration_hashes[0])
    lines = most_suspicious(table_of(judge, [1.0, 0.0], content_hash=[calibration, 5]))
    assert "/scans/a.png (exact copy: calibration image): brighter" in lines[1]
    assert "copy" not in lines[2]


def test_list_without_a_readable_file_has_a_table(judge: Judge) -> None:
    table = table_of(judge, [None, None])
    assert letters(table) == "ab"
    assert most_suspicious(table) == []

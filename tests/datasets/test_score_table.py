"""The catalog entry of a table of scores: a DataFrame, or a ScoreTable above a number of rows."""

import uuid
from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError, Version

from glow_pipeline.datasets import ScoreTableDataset
from glow_pipeline.outliers.score_table import ScoreTable
from tests.outliers.test_score_table import InPieces, scores

VERSION = Version(None, "2026-01-01T00.00.00.000Z")


@pytest.fixture(params=["local", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = str(tmp_path) if request.param == "local" else f"memory:///{uuid.uuid4().hex}"
    return f"{folder}/ood_scores.parquet"


def test_number_of_rows_decides_frame_or_table(address: str) -> None:
    rows = scores(9, named=True, unreadable=2)
    ScoreTableDataset(filepath=address, version=VERSION).save(InPieces(rows, 4))
    few, more = (ScoreTableDataset(filepath=address, frame_rows=n, version=VERSION).load() for n in (9, 8))
    assert isinstance(few, pd.DataFrame)
    pd.testing.assert_frame_equal(few, rows)
    assert isinstance(more, ScoreTable)
    pd.testing.assert_frame_equal(more.frame(), rows)


def test_frames_are_stored_as_pandas_stores_them(tmp_path: Path) -> None:
    rows = scores(9)
    ScoreTableDataset(filepath=str(tmp_path / "scores.parquet")).save(rows)
    rows.to_parquet(tmp_path / "pandas.parquet")
    assert (tmp_path / "scores.parquet").read_bytes() == (tmp_path / "pandas.parquet").read_bytes()


def test_failure_between_pieces_leaves_no_file(tmp_path: Path) -> None:
    class Failing(InPieces):
        def _pieces(self, columns: list[str]):  # type: ignore[no-untyped-def]
            yield from list(super()._pieces(columns))[:1]
            raise ValueError("cut off")

    entry = ScoreTableDataset(filepath=str(tmp_path / "scores.parquet"), version=VERSION)
    with pytest.raises(DatasetError, match="cut off"):
        entry.save(Failing(scores(9), 4))
    assert not list(tmp_path.glob("scores.parquet/*/*"))


def test_preview_shows_the_first_rows(address: str) -> None:
    entry = ScoreTableDataset(filepath=address, version=VERSION)
    assert entry.preview() is None
    entry.save(InPieces(scores(30), 7))
    shown = entry.preview()
    assert (shown["columns"], len(shown["data"])) == (list(scores(1).columns), 10)

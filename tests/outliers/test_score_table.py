from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from glow_pipeline.outliers import score_table
from glow_pipeline.outliers.score_table import BothSets, ScoresInMemory, ScoreTable, StoredScores


def scores(n: int, *, named: bool = False, unreadable: int = 0) -> pd.DataFrame:
    """Return rows as the node `score_images` makes them; the last ones are of files that could not be read."""
    return pd.DataFrame(
        {
            "source": "digits",
            "index": pd.array([*range(n - unreadable), *[None] * unreadable], dtype="Int64"),
            "file": [f"{row}.png" for row in range(n)] if named else None,
            "nll": [*np.arange(n - unreadable) / 3, *[np.nan] * unreadable],
            "unreadable": [None] * (n - unreadable) + ["is empty"] * unreadable,
        }
    )


class InPieces(ScoreTable):
    """A table in memory that is read a few rows at a time."""

    def __init__(self, rows: pd.DataFrame, size: int) -> None:
        self._rows, self._size = rows, size

    @property
    def columns(self) -> list[str]:
        return list(self._rows.columns)

    def __len__(self) -> int:
        return len(self._rows)

    def _pieces(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        for start in range(0, len(self._rows), self._size):
            yield self._rows[columns].iloc[start : start + self._size]


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredScores:
    """Return ten rows in two files, which are read by pieces of four."""
    monkeypatch.setattr(score_table, "PIECE", 4)
    paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    scores(6, named=True).to_parquet(paths[0])
    scores(4, named=True, unreadable=1).to_parquet(paths[1])
    return StoredScores(paths)


def test_files_are_read_in_pieces_in_order(stored: StoredScores) -> None:
    expected = pd.concat([scores(6, named=True), scores(4, named=True, unreadable=1)], ignore_index=True)
    assert [len(frame) for frame in stored.frames()] == [4, 2, 4]
    assert (len(stored), stored.columns) == (10, list(expected.columns))
    pd.testing.assert_frame_equal(stored.frame(), expected)
    assert np.array_equal(stored.column("nll"), expected["nll"], equal_nan=True)


def test_pieces_have_requested_columns_in_requested_order(stored: StoredScores) -> None:
    assert all(list(frame.columns) == ["nll", "file"] for frame in stored.frames(["nll", "file"]))
    assert all(list(frame.columns) == ["nll"] for frame in stored.readable(["nll"]))


def test_readable_rows_keep_their_positions(stored: StoredScores) -> None:
    assert [frame.index.tolist() for frame in stored.readable(["nll"])] == [[0, 1, 2, 3], [4, 5], [6, 7, 8]]


def test_rows_are_taken_in_requested_order(stored: StoredScores) -> None:
    taken = stored.take(np.array([8, 0, 5]), ["file"])
    assert taken["file"].tolist() == ["2.png", "0.png", "5.png"]
    assert taken.index.tolist() == [8, 0, 5]
    assert stored.take(np.array([], dtype=np.int64)).empty


def test_files_elsewhere_are_opened_by_the_opener(tmp_path: Path) -> None:
    scores(3).to_parquet(tmp_path / "a.parquet")
    table = StoredScores(["a.parquet"], lambda name: (tmp_path / name).open("rb"))
    pd.testing.assert_frame_equal(table.frame(), scores(3))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_written_pieces_equal_rows_written_at_once(size: int, tmp_path: Path) -> None:
    rows = scores(7, named=True, unreadable=2)
    InPieces(rows, size).to_parquet(tmp_path / "pieces.parquet")
    rows.to_parquet(tmp_path / "rows.parquet")
    pieces, at_once = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("pieces", "rows"))
    pd.testing.assert_frame_equal(pieces, at_once)


def test_both_sets_equal_their_concatenation() -> None:
    inside, outside = scores(5), scores(4, named=True, unreadable=1)
    both = BothSets(InPieces(inside, 2), ScoresInMemory(outside))
    expected = pd.concat([inside.assign(is_out=False), outside.assign(is_out=True)], ignore_index=True)
    assert (len(both), both.columns) == (9, list(expected.columns))
    pd.testing.assert_frame_equal(both.frame(), expected)
    assert both.column("is_out").tolist() == [False] * 5 + [True] * 4


def test_rows_of_an_empty_set_have_their_columns(tmp_path: Path) -> None:
    scores(0).to_parquet(tmp_path / "a.parquet")
    table = StoredScores([tmp_path / "a.parquet"])
    assert (len(table.column("nll")), list(table.frame().columns)) == (0, list(scores(0).columns))


def test_read_pieces_are_not_kept(tmp_path: Path) -> None:
    """A reader of all row groups keeps them all: a hundred million rows would not fit."""
    rows = pd.DataFrame({"nll": np.random.default_rng(0).normal(size=400_000), "unreadable": None})
    rows.to_parquet(tmp_path / "a.parquet", row_group_size=10_000)
    before, most = pa.total_allocated_bytes(), 0
    for _ in StoredScores([tmp_path / "a.parquet"]).readable(["nll"]):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 0.5 * 8 * len(rows)  # of all; how many pieces are read ahead depends on threads

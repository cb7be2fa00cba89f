"""Stored parts of scored files: complete or absent, whatever happens to them."""

from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from glow_pipeline.stores import FolderStore, store_at
from glow_pipeline.verdict.stored_parts import StoredParts
from tests.s3_server import TestBucket


def rows(*values: int) -> pd.DataFrame:
    return pd.DataFrame({"value": list(values)})


def stored(folder: Path) -> list[int]:
    return [value for frame in StoredParts(FolderStore(folder)).read(["value"]) for value in frame["value"]]


def test_rows_gathered_before_an_error_are_stored(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), StoredParts(FolderStore(tmp_path)).collecting() as writer:
        writer.add(rows(1, 2))
        writer.add(rows(3))
        raise KeyboardInterrupt
    again = StoredParts(FolderStore(tmp_path))
    assert [frame["value"].tolist() for frame in again.read(["value"])] == [[1, 2, 3]]


def test_joining_leaves_the_parts_of_another_command(tmp_path: Path) -> None:
    one, other = StoredParts(FolderStore(tmp_path)), StoredParts(FolderStore(tmp_path))
    one.store(rows(1))
    one.store(rows(2))
    one.read(["value"])
    other.store(rows(3))
    one.join(rows(1, 2))
    assert sorted(stored(tmp_path)) == [1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 2


def test_damaged_part_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = StoredParts(FolderStore(tmp_path))
    parts.store(rows(1))
    (tmp_path / "0.parquet").write_bytes(b"PAR1")
    pd.DataFrame({"other": [1]}).to_parquet(tmp_path / "1.parquet")
    assert stored(tmp_path) == [1]
    assert "0.parquet: passed over" in caplog.text
    assert "1.parquet: passed over, its files are scored again (other columns)" in caplog.text


def test_forgetting_leaves_nothing(tmp_path: Path) -> None:
    parts = StoredParts(FolderStore(tmp_path))
    parts.store(rows(1))
    parts.forget()
    assert stored(tmp_path) == []


def test_parts_in_a_bucket_are_read_by_others(bucket: TestBucket) -> None:
    store = store_at(f"{bucket.address}/progress")
    parts, other = StoredParts(store), StoredParts(store)
    parts.store(rows(1, 2))
    other.store(rows(3))
    values = sorted(value for frame in parts.read(["value"]) for value in frame["value"])
    parts.join(rows(1, 2, 3))
    assert (values, len(store.names())) == ([1, 2, 3], 2)
    parts.forget()
    assert store.names() == set()

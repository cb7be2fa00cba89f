"""Computing what is missing, and resuming."""

import logging
from pathlib import Path

import pytest
from results.rows import Row
from results.table import RowLeftOut, Table, complete


class Recorded:
    """A table of rows `a`, `b`, `c` that records which of them it computes.

    Args:
        fails: the row that cannot be computed.
    """

    def __init__(self, fails: str = "", error: Exception | None = None) -> None:
        self.computed: list[str] = []
        self.fails, self.error = fails, error

    def compute(self, name: str, project: Path) -> Row:
        if name == self.fails and self.error is not None:
            raise self.error
        self.computed.append(name)
        return {"value": name}

    def table(self) -> Table:
        return Table("letters", lambda _: "abc", self.compute, lambda _: {})


def test_missing_rows_are_computed_and_present_kept(tmp_path: Path) -> None:
    recorded = Recorded()
    recorded.table().file(tmp_path).add("b", {"value": "kept"})
    complete(recorded.table(), tmp_path, tmp_path)
    assert recorded.computed == ["a", "c"]
    assert recorded.table().file(tmp_path).read()["b"] == {"value": "kept"}


def test_rows_before_an_interruption_are_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        complete(Recorded("c", KeyboardInterrupt()).table(), tmp_path, tmp_path)  # type: ignore[arg-type]
    again = Recorded()
    complete(again.table(), tmp_path, tmp_path)
    assert again.computed == ["c"]


def test_row_left_out_is_named_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorded = Recorded("a", RowLeftOut("no images"))
    with caplog.at_level(logging.WARNING):
        complete(recorded.table(), tmp_path, tmp_path)
    assert recorded.computed == ["b", "c"]
    assert caplog.messages == ["letters: left out: a: no images"]


def test_only_named_rows_are_computed(tmp_path: Path) -> None:
    recorded = Recorded()
    complete(recorded.table(), tmp_path, tmp_path, ["c"])
    assert recorded.computed == ["c"]


def test_later_wishes_follow_from_earlier_rows(tmp_path: Path) -> None:
    recorded = Recorded()
    table = Table("letters", lambda rows: "ab" if "a" in rows else "a", recorded.compute, lambda _: {})
    complete(table, tmp_path, tmp_path)
    assert recorded.computed == ["a", "b"]


def test_stored_results_replace_rows_that_are_there(tmp_path: Path) -> None:
    recorded = Recorded()
    table = Table("letters", lambda _: "a", recorded.compute, lambda _: {}, lambda name, _: {"stored": name})
    complete(table, tmp_path, tmp_path)
    complete(table, tmp_path, tmp_path, from_data=True)
    assert (recorded.computed, table.file(tmp_path).read()) == (["a"], {"a": {"stored": "a"}})

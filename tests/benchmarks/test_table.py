"""Computing what is missing, and resuming."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from results.rows import Row, RowLeftOut
from results.table import Table, complete

from glow_pipeline.errors import GlowPipelineError
from tests.proc import on_linux
from tests.project import ROOT

SLOW_ROWS = """
import time
from pathlib import Path

from results.table import Table, complete


def compute(name, project):
    (project / name).touch()
    time.sleep(60)


if __name__ == "__main__":
    complete(Table("letters", lambda _: {}, compute, wanted=lambda _: "abcdef", jobs=2), Path(), Path())
"""


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
        return Table("letters", lambda _: {}, self.compute, wanted=lambda _: "abc")


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
    table = Table("letters", lambda _: {}, recorded.compute, wanted=lambda rows: "ab" if "a" in rows else "a")
    complete(table, tmp_path, tmp_path)
    assert recorded.computed == ["a", "b"]


def test_stored_results_replace_rows_that_are_there(tmp_path: Path) -> None:
    recorded = Recorded()
    table = Table("letters", lambda _: {}, recorded.compute, lambda name, _: {"stored": name}, lambda _: "a")
    complete(table, tmp_path, tmp_path)
    complete(table, tmp_path, tmp_path, from_data=True)
    assert (recorded.computed, table.file(tmp_path).read()) == (["a"], {"a": {"stored": "a"}})


def test_two_commands_compute_no_row_twice(tmp_path: Path) -> None:
    recorded = Recorded()
    with (
        recorded.table().file(tmp_path).claimed(),
        pytest.raises(GlowPipelineError, match=r"letters\.json: another command computes its rows"),
    ):
        complete(recorded.table(), tmp_path, tmp_path)
    assert recorded.computed == []


@pytest.mark.slow
@on_linux
def test_interruption_ends_all_processes_at_once(tmp_path: Path) -> None:
    (tmp_path / "slow_rows.py").write_text(SLOW_ROWS)
    path = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'benchmarks'}"}
    typed = [sys.executable, "slow_rows.py"]
    with subprocess.Popen(
        typed, cwd=tmp_path, env={**os.environ, **path}, start_new_session=True, stderr=subprocess.DEVNULL
    ) as command:
        while not (tmp_path / "b").exists():
            assert command.poll() is None
            time.sleep(0.05)
        os.killpg(command.pid, signal.SIGINT)
        assert command.wait(20) != 0
    assert not (tmp_path / "d").exists()

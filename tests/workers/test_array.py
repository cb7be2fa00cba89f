"""The engine `array`: shares of several commands."""

import logging
from pathlib import Path

import pytest

from glow_pipeline.errors import GlowPipelineError, HelperFinished
from glow_pipeline.stores import FolderStore
from glow_pipeline.workers.array import describe_help, let_one_continue
from glow_pipeline.workers.engines import finish
from tests.workers.squares import Squares


def test_each_command_computes_every_nth_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Squares(tmp_path, 7)
    missing = []
    for index in (1, 2, 0):
        monkeypatch.setenv("NODE_RANK", str(index))
        done = finish(work, "array", of=3)
        missing.append(work.missing())
        assert done == (missing[-1] == [])
    assert missing == [[0, 2, 3, 5, 6], [0, 3, 6], []]


def test_finished_work_asks_for_no_place(tmp_path: Path) -> None:
    work = Squares(tmp_path, 2)
    with pytest.raises(GlowPipelineError, match=r"workers\.of=2: none of NODE_RANK"):
        finish(work, "array", of=2)
    finish(work, "processes")
    assert finish(work, "array", of=2)


@pytest.mark.parametrize(
    ("index", "of", "n", "said"),
    [
        ("1", 3, 9, "(parts 1, 4, 7 of 9) of squares is stored; missing: parts 0, 2, 3, 5, 6, 8. "),
        ("0", 2, 2, "(part 0 of 2) of squares is stored; missing: part 1. "),
        ("2", 3, 2, "(no part of 2) of squares is stored; missing: parts 0, 1. "),
        (
            "0",
            1000,
            24,
            "(part 0 of 24) of squares is stored; missing: parts 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 13 more. ",
        ),
    ],
)
def test_share_and_missing_parts_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str, of: int, n: int, said: str
) -> None:
    monkeypatch.setenv("NODE_RANK", index)
    work = Squares(tmp_path, n)
    finish(work, "array", of)
    assert f"This machine has helped: its share {said}" in describe_help(work, of)


def test_same_command_continues_whenever_all_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def continues(index: int, of: int = 3, key: str = "abcd") -> bool:
        monkeypatch.setenv("NODE_RANK", str(index))
        try:
            let_one_continue(FolderStore(tmp_path), key, "score digits", of)
        except HelperFinished:
            return False
        return True

    caplog.set_level(logging.INFO)
    assert [continues(index) for index in (2, 0, 1, 2)] == [True, False, False, True]
    assert "all parts of score digits are stored, and the command with the number 2 of 0 to 2 continues" in caplog.text
    assert continues(0, of=1), "one command alone needs none of them"
    assert continues(0, key="other work")

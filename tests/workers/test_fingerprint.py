"""What commands that share a work tell each other of what they make its parts with."""

from dataclasses import replace
from pathlib import Path

import pytest

from glow_pipeline.stores import FolderStore
from glow_pipeline.workers.fingerprint import Fingerprint, report_others

HERE = Fingerprint("1234", {"device": "cuda (H200)", "torch": "2.15"}, "aaaa")


def reported(folder: Path, fingerprint: Fingerprint, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    report_others(FolderStore(folder), "score digits", fingerprint)
    return list(caplog.messages)


def test_commands_with_another_device_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert reported(tmp_path, HERE, caplog) == []
    other = replace(HERE, made_with={"device": "cuda (A100)", "torch": "2.15"}, key="bbbb")
    (line,) = reported(tmp_path, other, caplog)
    assert line.startswith(
        "score digits: other commands make its parts with device=cuda (H200), and this one with device=cuda (A100); "
        "their parts do not count here"
    )
    (line,) = reported(tmp_path, HERE, caplog)
    assert "make its parts with device=cuda (A100), and this one" in line


def test_same_device_or_other_work_is_not_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for fingerprint in (HERE, HERE, Fingerprint("5678", {"device": "cpu", "torch": "2.15"}, "cccc")):
        assert reported(tmp_path, fingerprint, caplog) == []

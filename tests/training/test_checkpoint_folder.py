"""The folder of a training's checkpoints, and the schedule by which they are written."""

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters.interval import Interval
from glow_pipeline.training.checkpoint import UNNAMED, read_checkpoint
from glow_pipeline.training.checkpoint_folder import CheckpointSchedule, TrainingFolder
from tests.processes import comes, ended, fresh_processes
from tests.training.helpers import checkpoint


def steps_in(folder: TrainingFolder) -> list[int]:
    return [read_checkpoint(path).step for path in folder.checkpoints]


# The folder of a training ---------------------------------------------------------------------


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncated, emptied, altered])
def test_damaged_newest_falls_back_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    folder = TrainingFolder(tmp_path)
    older, newer = folder.write(checkpoint(1), 3), folder.write(checkpoint(2), 3)
    damage(newer)
    newest = folder.newest()
    assert newest is not None
    assert (newest.step, newest.path, folder.last_step) == (1, older, 2)
    (warned,) = caplog.records
    assert warned.levelno == logging.WARNING
    assert str(newer) in warned.getMessage()
    damage(older)
    assert folder.newest() is None


def test_empty_or_missing_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert TrainingFolder(tmp_path).newest() is None
    assert TrainingFolder(tmp_path).last_step is None
    assert TrainingFolder(tmp_path / "not" / "there").newest() is None


@pytest.mark.parametrize("keep", [1, 2, 3, 10])
def test_newest_are_kept(tmp_path: Path, keep: int) -> None:
    folder = TrainingFolder(tmp_path)
    for step in range(8, 13):  # 9 and 10 are in another order as text
        folder.write(checkpoint(step), keep)
    assert steps_in(folder) == list(range(8, 13))[-keep:]


def test_newest_checkpoint_of_the_same_step_wins(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    for value in (1.0, 2.0, 3.0):
        os.utime(folder.write(checkpoint(5, value), 3), ns=(0, int(value)))
    newest = folder.newest()
    assert newest is not None
    assert newest.tensors["weight"].tolist() == [3.0] * 3


def test_earlier_step_written_later_is_newest(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    for step in (10, 20, 30):
        folder.write(checkpoint(step), 3)
    folder.write(checkpoint(15), 3)
    assert steps_in(folder) == [10, 15]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    others = [tmp_path / name for name in ("lock", "step_1.safetensors", "notes.txt")]
    for path in others:
        path.touch()
    for step in range(3):
        folder.write(checkpoint(step), 1)
    assert [path for path in others if path.exists()] == others
    assert len(list(tmp_path.iterdir())) == len(others) + 1


def test_finished_training_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    for step in range(3):
        folder.write(checkpoint(step), 3)
    assert not folder.finished
    folder.finish()
    assert TrainingFolder(tmp_path).finished
    assert steps_in(folder) == [2]
    folder.write(checkpoint(3), 3)
    assert not folder.finished, "it was made longer"


def test_claim_deletes_incomplete_checkpoints(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    path = folder.write(checkpoint(1), 3)
    incomplete = tmp_path / f".0123abcd.{UNNAMED}"
    incomplete.write_bytes(b"incomplete")
    assert folder.newest() is not None
    assert folder.claim()
    assert not incomplete.exists()
    assert folder.checkpoints == [path]


# Who writes there -----------------------------------------------------------------------------


def claim_and_wait(path: Path, proof: Path) -> None:
    folder = TrainingFolder(path)
    assert folder.claim()
    proof.touch()
    time.sleep(60)


def claim_and_fork(path: Path, proof: Path) -> None:
    """Claim, and have a child, as a DataLoader does, that knows nothing of its parent's end."""
    folder = TrainingFolder(path)
    assert folder.claim()
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    (proof.parent / "incomplete").write_text(str(child))
    (proof.parent / "incomplete").replace(proof)
    time.sleep(60)


def try_to_claim(path: Path, proof: Path) -> None:
    proof.write_text(str(TrainingFolder(path).claim()))


def test_second_process_cannot_claim(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path / "training")
    assert folder.claim()
    assert ended(try_to_claim, folder.path, tmp_path / "while") == 0
    folder.release()
    assert ended(try_to_claim, folder.path, tmp_path / "after") == 0
    assert (tmp_path / "while").read_text() == "False"
    assert (tmp_path / "after").read_text() == "True"


def test_claim_can_wait(tmp_path: Path) -> None:
    holder, folder = TrainingFolder(tmp_path), TrainingFolder(tmp_path)
    assert holder.claim()
    assert not folder.claim(patience=0.1)
    holder.release()
    assert folder.claim(patience=0.1)


def test_killed_process_releases_its_claim(tmp_path: Path) -> None:
    folder, proof = TrainingFolder(tmp_path / "training"), tmp_path / "proof"
    process = fresh_processes().Process(target=claim_and_wait, args=(folder.path, proof))
    process.start()
    assert comes(proof.exists)
    assert not folder.claim()
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert folder.claim()


def test_surviving_child_of_killed_parent_holds_nothing(tmp_path: Path) -> None:
    folder, proof = TrainingFolder(tmp_path / "training"), tmp_path / "proof"
    process = fresh_processes().Process(target=claim_and_fork, args=(folder.path, proof))
    process.start()
    assert comes(proof.exists)
    child = int(proof.read_text())
    try:
        assert not folder.claim()
        process.kill()
        process.join()
        os.kill(child, 0)  # it lives
        assert folder.claim()
    finally:
        os.kill(child, signal.SIGKILL)


# When one is due ------------------------------------------------------------------------------


def test_checkpoint_is_due_after_some_steps(tmp_path: Path) -> None:
    schedule = CheckpointSchedule(TrainingFolder(tmp_path), Interval.parse("3steps"), 9)
    schedule.start(10)
    due = []
    for step in range(11, 20):
        if schedule.due(step):
            due.append(step)
            schedule.write(checkpoint(step))
    assert due == steps_in(schedule.folder) == [13, 16, 19]


def test_checkpoint_is_due_after_some_minutes(tmp_path: Path) -> None:
    now = 1000.0
    schedule = CheckpointSchedule(TrainingFolder(tmp_path), Interval.parse("2min"), 9, clock=lambda: now)
    due = []
    for step in range(1, 11):
        now += 50.0
        if schedule.due(step):
            due.append(step)
            schedule.write(checkpoint(step))
    assert due == [3, 6, 9]


def test_failed_write_keeps_the_former_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = CheckpointSchedule(TrainingFolder(tmp_path), Interval.parse("1steps"), 1)
    schedule.write(checkpoint(1))
    before = sorted(tmp_path.iterdir())

    def full(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GlowPipelineError) as refused:
        schedule.write(checkpoint(2))
    assert str(refused.value).startswith(
        f"{tmp_path}: the checkpoint of step 2 cannot be written (No space left on device); make room there"
    )
    assert sorted(tmp_path.iterdir()) == before
    assert steps_in(schedule.folder) == [1]

"""The files from which a training goes on, and the folder that holds them."""

import hashlib
import logging
import math
import os
import pickle
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters
from glow_pipeline.parameters.interval import Interval
from glow_pipeline.training.checkpoint import (
    HEADER_KEY,
    UNNAMED,
    Checkpoint,
    CheckpointSchedule,
    TrainingFolder,
    read_checkpoint,
    write_checkpoint,
)
from glow_pipeline.training.model_file import read_model
from glow_pipeline.training.resume import check_resume
from tests.processes import comes, ended, fresh_processes

FACTS = {"history": {"steps": 7, "best_val_bits_per_dim": math.inf}, "identity": {"seed": 0}, "deep": [{"a": None}]}
TENSORS = {
    "float": torch.tensor([[0.1, -0.0], [math.nan, -math.inf]]),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "bfloat": torch.tensor([0.3], dtype=torch.bfloat16),
    "int": torch.tensor([2**31 - 1], dtype=torch.int32),
    "long": torch.tensor([-(2**63)]),
    "uint8": torch.tensor([255], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(3.0),
    "none": torch.empty(0, 2),
}


def at_step(step: int, value: float = 0.0) -> Checkpoint:
    return Checkpoint({"weight": torch.full((3,), value)}, {"history": {"steps": step}, "resumed_from": []})


def steps_in(folder: TrainingFolder) -> list[int]:
    return [read_checkpoint(path).step for path in folder.checkpoints]


def bits_of(tensor: Tensor) -> list[int]:
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(GlowPipelineError) as refused:
        read_checkpoint(path)
    line = str(refused.value)
    assert str(path) in line
    assert len(line.splitlines()) == 1
    return line


def named(folder: Path, step: int, content: bytes) -> Path:
    """A file of this content under the name of a checkpoint, with the content's own digest."""
    path = folder / f"step_{step:09d}.{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
    path.write_bytes(content)
    return path


# One file -------------------------------------------------------------------------------------


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    transposed = torch.arange(6.0).reshape(2, 3).T
    vector = torch.arange(6.0)  # of which others are views, as the parameters are of the optimiser's
    views = {"head": vector[:2], "tail": vector[2:], "transposed": transposed}
    path = write_checkpoint(tmp_path, Checkpoint({**TENSORS, **views}, FACTS))
    read = read_checkpoint(path)
    assert read.tensors.keys() == {*TENSORS, *views}
    for name, tensor in {**TENSORS, **views}.items():
        assert read.tensors[name].dtype == tensor.dtype, name
        assert read.tensors[name].shape == tensor.shape, name
        assert bits_of(read.tensors[name]) == bits_of(tensor), name
    assert (read.facts, read.step, read.path) == (FACTS, 7, path)


def test_the_facts_can_be_read_alone(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, Checkpoint(TENSORS, FACTS))
    assert read_checkpoint(path, with_tensors=False) == Checkpoint({}, FACTS, path)


def test_its_name_holds_its_step_and_the_start_of_its_digest(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, Checkpoint(TENSORS, FACTS))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"step_000000007.{digest[:16]}.safetensors"
    assert list(tmp_path.iterdir()) == [path]


CONTENT = save(TENSORS, metadata={HEADER_KEY: "{}"})


@given(bit=st.integers(0, 8 * len(CONTENT) - 1))
@example(bit=0)  # of the header's length,
@example(bit=8 * 8)  # of the header,
@example(bit=8 * len(CONTENT) - 1)  # of the last tensor
def test_any_one_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, bit: int) -> None:
    path = write_checkpoint(tmp_path_factory.mktemp("flipped"), Checkpoint(TENSORS, FACTS))
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content.tobytes())
    assert "damaged, its SHA-256 is not the one in its name" in refusal(path)


@given(length=st.integers(0, len(CONTENT) - 1))
@example(length=0)
def test_a_file_that_was_cut_off_is_noticed(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = write_checkpoint(tmp_path_factory.mktemp("cut"), Checkpoint(TENSORS, FACTS))
    os.truncate(path, length)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", save(TENSORS), save(TENSORS, metadata={"of": "another"}), save({}, metadata={HEADER_KEY: "{"})],
)
def test_another_file_is_refused_though_its_digest_is_right(tmp_path: Path, content: bytes) -> None:
    assert "not a checkpoint of this project" in refusal(named(tmp_path, 1, content))


def test_a_file_of_another_name_or_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"anything")
    assert "not a checkpoint; these are called step_<step>.<digest>.safetensors" in refusal(tmp_path / "weights.pt")
    assert "no such file" in refusal(tmp_path / f"step_{1:09d}.{'0' * 16}.safetensors")


def test_a_file_that_the_disk_does_not_give_back_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: object) -> NoReturn:
        raise OSError(5, "Input/output error")

    folder = TrainingFolder(tmp_path)
    path = folder.write(at_step(1), 3)
    monkeypatch.setattr("glow_pipeline.training.checkpoint.sha256", unreadable)
    assert "cannot be read (Input/output error)" in refusal(path)
    assert folder.newest() is None


# Pickles --------------------------------------------------------------------------------------


class Payload:
    """When it is unpickled, a file appears."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self._proof}",)


@pytest.mark.parametrize("kind", ["torch.save", "pickle"])
def test_a_pickle_is_refused_and_nothing_of_it_is_executed(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    proof, folder = tmp_path / "proof", TrainingFolder(tmp_path / "training")
    folder.claim()
    good = folder.write(at_step(1), 3)
    if kind == "pickle":
        content = pickle.dumps(Payload(proof))
        pickle.loads(content)
    else:
        torch.save({"model": Payload(proof)}, tmp_path / "saved")
        content = (tmp_path / "saved").read_bytes()
        torch.load(tmp_path / "saved", weights_only=False)
    assert proof.exists(), "the payload works"
    proof.unlink()

    bad = named(folder.path, 2, content)
    assert "not a checkpoint of this project" in refusal(bad)
    newest = folder.newest()
    assert newest is not None
    assert newest.path == good
    assert str(bad) in caplog.text
    with pytest.raises(GlowPipelineError, match="not a checkpoint of this project"):
        check_resume(Parameters.model_validate({"train": {"resume": str(bad)}}))
    with pytest.raises(GlowPipelineError, match=str(bad)) as refused:
        read_model(bad)
    assert len(str(refused.value).splitlines()) == 1
    assert not proof.exists()


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
def test_where_the_newest_is_damaged_the_one_before_is_used_and_it_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    assert callable(damage)
    folder = TrainingFolder(tmp_path)
    older, newer = folder.write(at_step(1), 3), folder.write(at_step(2), 3)
    damage(newer)
    newest = folder.newest()
    assert newest is not None
    assert (newest.step, newest.path) == (1, older)
    (warned,) = caplog.records
    assert warned.levelno == logging.WARNING
    assert str(newer) in warned.getMessage()
    damage(older)
    assert folder.newest() is None


def test_an_empty_folder_and_none_have_no_checkpoint(tmp_path: Path) -> None:
    assert TrainingFolder(tmp_path).newest() is None
    assert TrainingFolder(tmp_path / "not" / "there").newest() is None


@pytest.mark.parametrize("keep", [1, 2, 3, 10])
def test_the_newest_are_kept(tmp_path: Path, keep: int) -> None:
    folder = TrainingFolder(tmp_path)
    for step in range(8, 13):  # 9 and 10 are in another order as text
        folder.write(at_step(step), keep)
    assert steps_in(folder) == list(range(8, 13))[-keep:]


def test_of_two_of_one_step_the_later_is_the_newest(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    for value in (1.0, 2.0, 3.0):
        os.utime(folder.write(at_step(5, value), 3), ns=(0, int(value)))
    newest = folder.newest()
    assert newest is not None
    assert newest.tensors["weight"].tolist() == [3.0] * 3


def test_what_is_written_after_going_back_is_the_newest(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    for step in (10, 20, 30):
        folder.write(at_step(step), 3)
    folder.write(at_step(15), 3)
    assert steps_in(folder) == [10, 15]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    others = [tmp_path / name for name in ("lock", "step_1.safetensors", "notes.txt")]
    for path in others:
        path.touch()
    for step in range(3):
        folder.write(at_step(step), 1)
    assert [path for path in others if path.exists()] == others
    assert len(list(tmp_path.iterdir())) == len(others) + 1


def test_a_finished_training_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    for step in range(3):
        folder.write(at_step(step), 3)
    assert not folder.finished
    folder.finish()
    assert TrainingFolder(tmp_path).finished
    assert steps_in(folder) == [2]
    folder.write(at_step(3), 3)
    assert not folder.finished, "it was made longer"


def test_the_half_of_a_checkpoint_that_a_killed_process_left_goes_with_the_next_claim(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    path = folder.write(at_step(1), 3)
    half = tmp_path / f".0123abcd.{UNNAMED}"
    half.write_bytes(b"half")
    assert folder.newest() is not None
    assert folder.claim()
    assert not half.exists()
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
    (proof.parent / "half").write_text(str(child))
    (proof.parent / "half").replace(proof)
    time.sleep(60)


def try_to_claim(path: Path, proof: Path) -> None:
    proof.write_text(str(TrainingFolder(path).claim()))


def test_another_process_is_refused_while_one_trains(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path / "training")
    assert folder.claim()
    assert ended(try_to_claim, folder.path, tmp_path / "while") == 0
    folder.release()
    assert ended(try_to_claim, folder.path, tmp_path / "after") == 0
    assert (tmp_path / "while").read_text() == "False"
    assert (tmp_path / "after").read_text() == "True"


def test_another_one_can_be_waited_for(tmp_path: Path) -> None:
    holder, folder = TrainingFolder(tmp_path), TrainingFolder(tmp_path)
    assert holder.claim()
    assert not folder.claim(patience=0.1)
    holder.release()
    assert folder.claim(patience=0.1)


def test_what_a_killed_process_held_is_free_at_once(tmp_path: Path) -> None:
    folder, proof = TrainingFolder(tmp_path / "training"), tmp_path / "proof"
    process = fresh_processes().Process(target=claim_and_wait, args=(folder.path, proof))
    process.start()
    assert comes(proof.exists)
    assert not folder.claim()
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert folder.claim()


def test_a_child_that_outlives_its_killed_parent_holds_nothing(tmp_path: Path) -> None:
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


@given(
    number=st.one_of(st.integers(1, 10**9), st.decimals("0.001", "1e6", places=3).map(lambda number: f"{number:f}")),
    unit=st.sampled_from(["", "min", "minute", "minutes", "step", "steps"]),
    spaces=st.tuples(*[st.sampled_from(["", " "])] * 3),
)
def test_an_interval_is_a_number_of_minutes_or_steps(
    number: int | str, unit: str, spaces: tuple[str, str, str]
) -> None:
    expected = Interval(float(number), "steps" if unit.startswith("step") else "minutes")
    assert Interval.of(f"{spaces[0]}{number}{spaces[1]}{unit}{spaces[2]}") == expected
    if not unit:
        assert Interval.of(float(number)) == expected


@pytest.mark.parametrize(
    "text", [0, -1, 0.0, True, "", "0steps", "-1min", "nan", "inf", "1e3", "10 hours", "1.min", "min"]
)
def test_what_is_no_interval_is_told(text: float | str) -> None:
    with pytest.raises(ValueError, match=f"^{text}: not a number of minutes or steps: 10, 10min, 500steps"):
        Interval.of(text)


@given(st.one_of(st.text("0123456789. minutesp", max_size=8), st.text(), st.floats()))
def test_nothing_else_comes_of_any_text(text: float | str) -> None:
    with suppress(ValueError):
        assert Interval.of(text).every > 0


def test_one_is_due_after_so_many_steps(tmp_path: Path) -> None:
    keeper = CheckpointSchedule(TrainingFolder(tmp_path), Interval.of("3steps"), 9, {"who": "it"})
    keeper.begin(10)
    due = []
    for step in range(11, 20):
        if keeper.due(step):
            due.append(step)
            keeper.write(at_step(step))
    assert due == steps_in(keeper.folder) == [13, 16, 19]
    assert read_checkpoint(keeper.folder.checkpoints[0]).facts == {**at_step(13).facts, "who": "it"}


def test_one_is_due_after_so_many_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    keeper = CheckpointSchedule(TrainingFolder(tmp_path), Interval.of("2min"), 9, {})
    due = []
    for step in range(1, 11):
        now += 50.0
        if keeper.due(step):
            due.append(step)
            keeper.write(at_step(step))
    assert due == [3, 6, 9]


def test_what_cannot_be_written_is_one_line_and_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = CheckpointSchedule(TrainingFolder(tmp_path), Interval.of("1steps"), 1, {})
    keeper.write(at_step(1))
    before = sorted(tmp_path.iterdir())

    def full(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GlowPipelineError) as told:
        keeper.write(at_step(2))
    assert str(told.value).startswith(
        f"{tmp_path}: the checkpoint of step 2 cannot be written (No space left on device); make room there"
    )
    assert sorted(tmp_path.iterdir()) == before
    assert steps_in(keeper.folder) == [1]


def test_checkpoint_of_format_1_names_its_commit() -> None:
    old = Path(__file__).parents[1] / "old_formats" / "step_000000020.24b297debc285572.safetensors"
    with pytest.raises(GlowPipelineError) as refused:
        read_checkpoint(old)
    assert str(refused.value) == (
        f"{old}: a checkpoint of format 1, and this version reads 2; resume it with the commit that wrote it "
        f"(0318a04092b55a73b2d8ad669244b9f358186d99), or begin a new training with train.resume=never"
    )

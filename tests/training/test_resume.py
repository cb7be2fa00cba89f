"""The training that a command resumes."""

import shutil
from pathlib import Path

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters, with_complete_batches
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.identity import fingerprint
from glow_pipeline.training.named_checkpoint import check_resume
from glow_pipeline.training.resume import claim_training
from tests.training.interrupted import FORMER_SPLIT, OLD_FORMAT, folder_of, former, interrupted, line_of, parameters


def test_newest_unfinished_training_is_resumed(tmp_path: Path) -> None:
    alike = tmp_path / fingerprint(parameters())
    for session in ("2001", "2002", "2003", "2004", "2005"):
        interrupted(alike / session, parameters())
    interrupted(tmp_path / fingerprint(parameters(lr=0.5)) / "2006", parameters(lr=0.5))
    TrainingFolder(alike / "2005").finish()
    other = TrainingFolder(alike / "2004")
    assert other.claim()
    for path in TrainingFolder(alike / "2003").checkpoints:
        path.write_bytes(b"damaged")

    training = claim_training(parameters(), tmp_path, "2010")
    assert folder_of(training) == alike / "2002"
    assert training.start is not None
    assert (training.start.step, training.start.tensors, training.mlflow_run_id) == (5, {}, "2002")
    second = claim_training(parameters(n_epochs=200, checkpoint_every=1.0), tmp_path, "2011")
    assert folder_of(second) == alike / "2001"
    third = claim_training(parameters(), tmp_path, "2012")
    assert (folder_of(third), third.start, third.mlflow_run_id) == (alike / "2012", None, None)


def test_training_of_an_earlier_format_starts_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = tmp_path / fingerprint(parameters()) / "2001"
    old.mkdir(parents=True)
    shutil.copy(OLD_FORMAT, old)
    shutil.copy(OLD_FORMAT, old / f"step_000000001.{OLD_FORMAT.name.partition('.')[2]}")
    training = claim_training(parameters(), tmp_path, "2010")
    assert (folder_of(training).name, training.start) == ("2010", None)
    (warned,) = caplog.messages
    assert warned.startswith(f"A new training starts, since the interrupted one cannot be resumed: {old}")
    assert "45db261714a1444096096ba4d0353e73257ad81a" in warned
    assert TrainingFolder(old).claim(), "nobody holds it"


def test_training_without_calibration_resumes_with_zero_typed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = former(tmp_path / fingerprint(FORMER_SPLIT) / "2001")
    assert claim_training(Parameters(), tmp_path, "2010").start is None
    (warned,) = caplog.messages
    assert warned.startswith(f"A new training starts, since the interrupted one ({path.parent}) holds out other images")
    assert warned.endswith("add ingest.val_percentage=10,ingest.calibration_percentage=0 to --params")
    training = claim_training(FORMER_SPLIT, tmp_path, "2011")
    assert training.start is not None
    assert training.start.path == path


def test_batches_of_other_processes_are_another_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What counts is the size of the complete batch, however it was given."""

    def on(processes: int, **train: object) -> Parameters:
        return with_complete_batches(parameters(batch_size_per_device=16, **train), processes)

    path = interrupted(tmp_path / fingerprint(on(2)) / "2001", on(2))
    interrupted(tmp_path / fingerprint(on(4, lr=0.5)) / "2002", on(4, lr=0.5))
    assert fingerprint(on(2)) == fingerprint(parameters(batch_size=32)) != fingerprint(on(3))
    assert claim_training(on(3), tmp_path, "2010").start is None
    assert caplog.messages == [
        "A new training starts, with batches of 16 x 3 = 48 images, since the interrupted one "
        f"({path.parent}) has batches of 32; to resume that one, give train.batch_size=32 in place of "
        "train.batch_size_per_device"
    ]
    caplog.clear()
    with pytest.raises(GlowPipelineError, match=r"another one: here train\.batch_size=48 instead of 32; give"):
        check_resume(on(3, resume=str(path)))
    check_resume(on(2, resume=str(path)))
    resumed = claim_training(parameters(batch_size=32, devices=3), tmp_path, "2011")
    assert resumed.start is not None
    assert resumed.start.path == path


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_other_splits_are_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture, resume: str) -> None:
    folder = TrainingFolder(former(tmp_path / fingerprint(FORMER_SPLIT) / "2001").parent)
    if resume == "auto":
        folder.finish()
        typed = Parameters.model_validate({"ingest": {"val_percentage": 7.0}})
        assert claim_training(typed, tmp_path, "2009").start is None
    assert claim_training(parameters(resume=resume), tmp_path, "2010").start is None
    assert not caplog.messages


def test_never_starts_a_new_training(tmp_path: Path) -> None:
    interrupted(tmp_path / fingerprint(parameters()) / "2001", parameters())
    training = claim_training(parameters(resume="never"), tmp_path, "2010")
    assert folder_of(training) == tmp_path / fingerprint(parameters()) / "2010"
    assert training.start is None


def test_two_at_once_get_two_folders(tmp_path: Path) -> None:
    trainings = [claim_training(parameters(), tmp_path, session) for session in ("2001", "2002")]
    assert [folder_of(training).name for training in trainings] == ["2001", "2002"]
    assert not any(TrainingFolder(folder_of(training)).claim() for training in trainings)


def test_two_of_one_session_share_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glow_pipeline.training.resume.PATIENCE", 0.1)
    first = claim_training(parameters(resume="never"), tmp_path, "2001")
    with pytest.raises(GlowPipelineError) as refused:
        claim_training(parameters(resume="never"), tmp_path, "2001")
    assert line_of(refused) == f"{folder_of(first)}: another process trains there; type the same command again"


def test_training_finished_before_the_claim_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alike = tmp_path / fingerprint(parameters())
    interrupted(alike / "2001", parameters())
    original = TrainingFolder.claim

    def late(self: TrainingFolder, patience: float = 0.0) -> bool:
        if self.path.name == "2001":
            self.finish()
        return original(self, patience)

    monkeypatch.setattr(TrainingFolder, "claim", late)
    assert folder_of(claim_training(parameters(), tmp_path, "2010")).name == "2010"
    monkeypatch.undo()
    assert TrainingFolder(alike / "2001").claim(), "it was let go"


def test_training_with_more_epochs_is_left_alone(tmp_path: Path) -> None:
    alike = tmp_path / fingerprint(parameters())
    interrupted(alike / "2001", parameters(), epochs=3)
    assert folder_of(claim_training(parameters(n_epochs=2), tmp_path, "2010")).name == "2010"
    assert folder_of(claim_training(parameters(n_epochs=3), tmp_path, "2011")).name == "2001"


def test_interrupted_longer_training_is_not_finished(tmp_path: Path) -> None:
    folder = tmp_path / fingerprint(parameters()) / "2001"
    named = interrupted(folder, parameters(), 5)
    TrainingFolder(folder).finish()
    interrupted(folder, parameters(), 9, epochs=2, resumed_from=(named.name,))
    training = claim_training(parameters(n_epochs=200), tmp_path, "2010")
    assert folder_of(training) == folder
    assert training.start is not None
    assert training.start.step == 9


def test_read_only_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / fingerprint(parameters())).write_text("not a folder")
    with pytest.raises(GlowPipelineError, match="cannot be written to") as refused:
        claim_training(parameters(), tmp_path, "2010")
    assert str(tmp_path) in line_of(refused)

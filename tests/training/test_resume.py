"""The training that a command resumes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters, changeable_on_resume, known_names, with_complete_batches
from glow_pipeline.training.checkpoint import Checkpoint
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.model_file import MODEL_FILE
from glow_pipeline.training.resume import (
    ClaimedTraining,
    check_resume,
    claim_training,
    fingerprint,
    identity,
)
from glow_pipeline.training.shipped_models import SHIPPED
from tests.outliers.toy_scores import Brightness, registered
from tests.project import ROOT
from tests.training.helpers import checkpoint_record

WITHIN_IDENTITY = set(known_names()) - changeable_on_resume()  # tests/parameters/test_names.py lists them
# Another value of each parameter than its default.
CHANGED: dict[str, object] = {
    "stored_model": "2026-01-01T00.00.00.000Z",
    "ood.scores": ["brightness"],
    "ood.score": "nll",
    "ood.batch_size": 64,
    "ingest.range": "0-4095",
    "ingest.background": "black",
    "dataset": "mnist",
    "out_dataset": "mnist",
    "seed": 1,
    "device": "cpu",
    "ingest.classes": [1, 2],
    "ingest.path": "somewhere",
    "ingest.eval_path": "elsewhere",
    "ingest.name": "xrays",
    "ingest.size": 16,
    "ingest.channels": 3,
    "ingest.fit": "pad",
    "ingest.on_unreadable": "skip",
    "ingest.num_workers": 3,
    "model.flow_permutation": "shuffle",
    "model.flow_coupling": "additive",
    "model.num_classes": 12,
    "model.n_bits": 3,
    "train.batch_size_per_device": 16,
    "train.activations": "reversible",
    "train.threads": 2,
    "train.precision": "float32",
    "train.compile": True,
    "train.data_on_device": True,
    "train.checkpoint": "model.safetensors",
    "train.checkpoint_every": "5steps",
    "train.resume": "never",
    "train.rendezvous": "here:1",
    "train.epoch_images": 1000,
    "train.stage": "somewhere",
    "ingest.val_images": 100,
    "ingest.verify": "contents",
    "workers.engine": "array",
    "workers.of": 3,
    "workers.part_images": 100,
    "own": {"threshold": 3},
    "search.study": "one",
    "search.storage": "sqlite:///other.db",
    "search.ranges": {"train": {"lr": {"low": 0.001, "high": 0.01}}},
    "search.pruner": "none",
    "sample.mode": "vtemp",
    "sample.y": 1,
    "sample.path": "sphere",
    "sample.attribute": [1],
    "ood.out_classes": [1],
    "ood.out_path": "somewhere",
    "calibrate.path": "somewhere",
    "score.images": "somewhere",
    "score.model": "version",
    "score.scores": ["nll"],
    "score.heatmaps": "all",
    "score.on_resume": "restart",
    "benchmark.out_datasets": ["mnist"],
    "benchmark.n_images": 10,
    "ood.background": "version",
    "ood.ensemble": ["version", "version"],
}


def changed(name: str) -> Parameters:
    """Return the parameters with another value of this one."""
    group, _, leaf = name.rpartition(".")
    default: Any = Parameters()
    default = getattr(getattr(default, group) if group else default, leaf)
    if name in CHANGED:
        value = CHANGED[name]
    else:
        value = (
            not default if isinstance(default, bool) else default + 1 if isinstance(default, int) else default + 0.25
        )
    return Parameters.model_validate({group: {leaf: value}} if group else {leaf: value})


@pytest.mark.parametrize("name", known_names())
def test_fingerprint_is_that_of_the_identity(name: str) -> None:
    with registered(Brightness()):
        other = changed(name)
    assert other != Parameters()
    assert (fingerprint(other) != fingerprint(Parameters())) == (name in WITHIN_IDENTITY)


def test_fingerprint_is_twelve_hex_digits_and_stays() -> None:
    assert fingerprint(Parameters()) == fingerprint(Parameters.model_validate(Parameters().model_dump()))
    assert len(fingerprint(Parameters())) == 12
    assert int(fingerprint(Parameters()), 16) > 0


# Claiming -------------------------------------------------------------------------------------


def parameters(**train: object) -> Parameters:
    return Parameters.model_validate({"train": train})


def interrupted(
    folder: Path, of: Parameters, step: int = 5, epochs: int = 1, resumed_from: tuple[str, ...] = ()
) -> Path:
    """Write an interrupted training of these parameters, and return its newest checkpoint."""
    record = checkpoint_record(
        step, epochs, identity=identity(of), mlflow_run_id=folder.name, resumed_from=list(resumed_from)
    )
    return TrainingFolder(folder).write(Checkpoint({"weight": torch.zeros(1)}, record), 3)


FORMER_SPLIT = Parameters.model_validate({"ingest": {"val_percentage": 10.0, "calibration_percentage": 0.0}})


def former(folder: Path) -> Path:
    """Write an interrupted training of a version without calibration images, and return its checkpoint."""
    identity_then = {**identity(Parameters()), "ingest.val_percentage": 10.0}
    del identity_then["ingest.calibration_percentage"]
    record = checkpoint_record(5, 1, identity=identity_then)
    return TrainingFolder(folder).write(Checkpoint({"weight": torch.zeros(1)}, record), 3)


def line_of(error: pytest.ExceptionInfo[GlowPipelineError]) -> str:
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def folder_of(training: ClaimedTraining) -> Path:
    assert training.folder is not None
    return training.folder.path


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


OLD_FORMAT = Path(__file__).parents[1] / "old_formats" / "step_000000002.2a650d77079403ca.safetensors"


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


@pytest.mark.parametrize("whole_folder", [True, False])
def test_named_checkpoint_of_an_earlier_format_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, whole_folder: bool
) -> None:
    named = Path(shutil.copy(OLD_FORMAT, tmp_path))
    with pytest.raises(GlowPipelineError) as refused:
        check_resume(parameters(resume=str(tmp_path if whole_folder else named)))
    assert line_of(refused).startswith(f"train.resume={named}: a checkpoint of format 2")
    assert "45db261714a1444096096ba4d0353e73257ad81a" in line_of(refused)
    assert not caplog.messages


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


# Named ----------------------------------------------------------------------------------------


def test_checkpoint_or_its_folder_can_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "anywhere"
    older, newer = interrupted(folder, parameters(), 5), interrupted(folder, parameters(), 9)
    for named, step in ((older, 5), (newer, 9), (folder, 9)):
        check_resume(parameters(resume=str(named)))
        training = claim_training(parameters(resume=str(named)), tmp_path / "root", "2010")
        assert training.start is not None
        assert (folder_of(training), training.start.step) == (folder, step)
        assert training.folder is not None
        training.folder.release()
    TrainingFolder(folder).finish()
    assert claim_training(parameters(resume=str(folder)), tmp_path / "root", "2010").start is not None
    assert not (tmp_path / "root").exists()


def test_interrupted_resume_of_named_checkpoint_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "anywhere"
    named = interrupted(folder, parameters(), 5)
    TrainingFolder(folder).finish()
    before = interrupted(folder, parameters(), 5, resumed_from=("another",))
    again = parameters(resume=str(named), n_epochs=200)
    assert newest_of(again) in (named, before), "one of the same step that did not come from it is none of its own"
    interrupted(folder, parameters(), 9, resumed_from=("another", named.name))
    assert newest_of(again).name.startswith("step_000000009")
    named.unlink()
    check_resume(again)
    assert newest_of(again).name.startswith("step_000000009"), "the named one was not among those that were kept"
    longer = claim_training(parameters(n_epochs=200), tmp_path, "2010")
    assert longer.start is None, "in another folder than that of this name, nothing is looked for"


def newest_of(given: Parameters) -> Path:
    training = claim_training(given, Path("nowhere"), "2010")
    assert training.folder is not None
    training.folder.release()
    assert training.start is not None
    assert training.start.path is not None
    return training.start.path


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


def test_training_of_another_process_cannot_be_named(tmp_path: Path) -> None:
    interrupted(tmp_path, parameters())
    other = TrainingFolder(tmp_path)
    assert other.claim()
    with pytest.raises(GlowPipelineError) as refused:
        claim_training(parameters(resume=str(tmp_path)), tmp_path, "2010")
    assert line_of(refused).startswith(f"train.resume={tmp_path}: another process is training it")


def test_other_training_is_refused_with_the_difference(tmp_path: Path) -> None:
    path = interrupted(tmp_path, parameters())
    other = Parameters.model_validate({"train": {"resume": str(path), "lr": 0.5, "flip": True}, "ingest": {"size": 16}})
    with pytest.raises(GlowPipelineError) as refused:
        check_resume(other)
    assert line_of(refused) == (
        f"train.resume={path}: that training is another one: here ingest.size=16 instead of null, train.lr=0.5 instead "
        f"of 0.0002, train.flip=true instead of false; give it its own parameters, or start a new one with "
        f"train.resume=auto"
    )


def test_difference_names_percentages_of_calibration(tmp_path: Path) -> None:
    def check(path: Path, given: Parameters) -> None:
        train = given.train.model_copy(update={"resume": str(path)})
        check_resume(given.model_copy(update={"train": train}))

    before, now = former(tmp_path / "before"), interrupted(tmp_path / "now", Parameters())
    check(before, FORMER_SPLIT)
    with pytest.raises(GlowPipelineError, match=r"ingest.calibration_percentage=5\.0 instead of 0\.0"):
        check(before, Parameters())
    with pytest.raises(GlowPipelineError, match=r"ingest.calibration_percentage=0\.0 instead of 5\.0"):
        check(now, FORMER_SPLIT)


def test_fewer_epochs_than_the_named_are_refused(tmp_path: Path) -> None:
    path = interrupted(tmp_path, parameters(), epochs=3)
    check_resume(parameters(resume=str(path), n_epochs=3))
    with pytest.raises(GlowPipelineError) as refused:
        check_resume(parameters(resume=str(path), n_epochs=2))
    assert line_of(refused).startswith(f"train.n_epochs=2: the training of train.resume={path} has 3 epochs already")


@pytest.mark.parametrize("what", ["a folder without", "nothing", "damaged"])
def test_named_file_without_checkpoint_is_refused(tmp_path: Path, what: str) -> None:
    path = interrupted(tmp_path / "training", parameters())
    if what == "damaged":
        path.write_bytes(b"damaged")
    named = {"a folder without": tmp_path, "nothing": tmp_path / "nothing", "damaged": path}[what]
    with pytest.raises(GlowPipelineError) as refused:
        check_resume(parameters(resume=str(named)))
    assert str(named) in line_of(refused)


def test_shipped_start_is_the_same_by_name_or_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folder = f"{SHIPPED}/digits"
    typed = ("digits", folder, f"{folder}/{MODEL_FILE}", str(ROOT / folder), f"./{SHIPPED}/../{folder}")
    assert len({fingerprint(parameters(checkpoint=each)) for each in typed}) == 1
    assert fingerprint(parameters(checkpoint="digts")) != fingerprint(parameters(checkpoint="digits"))

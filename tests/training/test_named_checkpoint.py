"""The checkpoint that `train.resume` names."""

import shutil
from pathlib import Path

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.named_checkpoint import check_resume
from glow_pipeline.training.resume import claim_training
from tests.training.interrupted import FORMER_SPLIT, OLD_FORMAT, folder_of, former, interrupted, line_of, parameters


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

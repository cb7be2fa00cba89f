"""`kedro versions`, on a few folders and with an MLflow that may not answer."""

from pathlib import Path
from typing import Any

import pytest

from glow_pipeline.datasets.housekeeping.command import Request, run_versions
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.tracking.destination import Destination
from glow_pipeline.training.checkpoint_folder import TrainingFolder

VERSION = "2026-01-01T00.00.00.000Z"
CATALOG: dict[str, Any] = {
    "samples": {"type": "x.PictureDataset", "filepath": "data/07/*/samples.png", "versioned": True},
    "checkpoints": {"type": "x.FolderDataset", "filepath": "data/06/*/checkpoints"},
}
ELSEWHERE: dict[str, Any] = {"far": {"type": "x.PictureDataset", "filepath": "sftp://host/*/a.png", "versioned": True}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    picture = tmp_path / "data" / "07" / "digits" / "samples.png" / VERSION / "samples.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"12345")
    training = TrainingFolder(tmp_path / "data" / "06" / "digits" / "checkpoints" / "abc" / VERSION)
    assert training.claim()
    training.release()
    training.finish()
    return tmp_path


@pytest.fixture
def place(project: Path) -> Destination:
    (project / "mlflow.db").write_bytes(b"no database")
    return Destination(f"sqlite:///{project / 'mlflow.db'}", "glow_pipeline", None, True, "shown", project)


def typed(project: Path, place: Destination | None, request: Request, confirm: bool = False, **more: Any) -> str:
    shown: list[str] = []
    run_versions({**CATALOG, **more}, project, place, request, shown.append, lambda _: confirm)
    return "\n".join(shown)


def stored(project: Path) -> list[Path]:
    return sorted((project / "data").rglob(VERSION))


def test_mlflow_without_an_answer_forbids_removal(project: Path, place: Destination) -> None:
    with pytest.raises(GlowPipelineError, match="what MLflow's runs need is unknown"):
        typed(project, place, Request(remove=("all",), yes=True))
    assert len(stored(project)) == 2
    typed(project, place, Request(remove=("all",), yes=True, force=True))
    assert stored(project) == []


def test_tracking_switched_off_is_said(project: Path) -> None:
    assert "enabled: false" in typed(project, None, Request())
    assert "Removed 2 stored folders; " in typed(project, None, Request(remove=("all",), yes=True))


def test_training_started_during_the_question_is_spared(project: Path) -> None:
    training = TrainingFolder(project / "data" / "06" / "digits" / "checkpoints" / "abc" / VERSION)

    def start_and_agree(_: str) -> bool:
        return training.claim()

    with pytest.raises(GlowPipelineError, match="a training runs at this moment"):
        run_versions(CATALOG, project, None, Request(remove=("all",)), lambda _: None, start_and_agree)
    training.release()
    assert len(stored(project)) == 2


def test_need_found_after_the_question_is_named(project: Path) -> None:
    finished = project / "data" / "06" / "digits" / "checkpoints" / "abc" / VERSION / "finished"

    def resume_and_agree(_: str) -> bool:
        finished.unlink()
        return True

    with pytest.raises(GlowPipelineError, match="nothing was removed, since by now an unfinished training"):
        run_versions(CATALOG, project, None, Request(remove=("all",)), lambda _: None, resume_and_agree)
    assert len(stored(project)) == 2


def test_leftovers_go_although_nothing_else_does(project: Path) -> None:
    leftover = project / "data" / "07" / "digits" / "samples.png" / f".removed.1.{VERSION}"
    leftover.mkdir()
    request = Request(remove=("all",), keep=1)
    assert "An interrupted removal has left 0 B" in typed(project, None, request)
    assert leftover.exists()
    typed(project, None, Request(remove=("all",), keep=1, yes=True))
    assert not leftover.exists()
    assert len(stored(project)) == 2


def test_results_elsewhere_keep_their_runs(project: Path) -> None:
    assert "not listed nor removed here: far. MLflow's runs stay too." in typed(project, None, Request(), **ELSEWHERE)

"""`--only-missing-outputs` beside a training that was interrupted."""

import logging
import os
import signal
from pathlib import Path

import pytest

from glow_pipeline.pipelines.train import nodes
from tests.hooks.helpers import statuses, trainings
from tests.hooks.test_training_claim import SETTINGS
from tests.processes import ended
from tests.project import copy_project, run, session, versions

LONGER = {**SETTINGS, "train": {**SETTINGS["train"], "n_epochs": 3}, "seed": 1}


def run_missing(project: Path) -> None:
    with session(project, None, **LONGER) as created:
        created.run(pipeline_names=["train"], only_missing_outputs=True)


def run_until_evaluation(project: Path) -> None:
    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(nodes, "measure_images", die)  # noqa: B010  # mypy knows that it is another function
    run(project, "train", **LONGER)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model, and another training that was killed."""
    project = copy_project(tmp_path_factory.mktemp("interrupted"))
    run(project, "train", **SETTINGS)
    assert ended(run_until_evaluation, project) == -signal.SIGKILL
    return project


def test_skipped_training_stays_unfinished(interrupted: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = sorted(training.finished for training in trainings(interrupted))
    models = versions(interrupted, "06_models/digits/glow_model.safetensors/*/*.safetensors")
    with caplog.at_level(logging.WARNING):
        run_missing(interrupted)
    assert before == sorted(training.finished for training in trainings(interrupted)) == [False, True]
    assert all(training.checkpoints for training in trainings(interrupted))
    assert versions(interrupted, "06_models/digits/glow_model.safetensors/*/*.safetensors") == models
    assert statuses(interrupted) == ["FINISHED", "RUNNING", "FINISHED"], "a run of its own, which trained nothing"
    (line,) = [message for message in caplog.messages if message.startswith("--only-missing-outputs: not run")]
    assert line.endswith("perhaps of other parameters: all nodes")


def test_interrupted_training_still_resumes_afterwards(interrupted: Path) -> None:
    run(interrupted, "train", **LONGER)
    assert [training.finished for training in trainings(interrupted)] == [True, True]
    assert statuses(interrupted) == ["FINISHED", "FINISHED", "FINISHED"]

"""`kedro run`, interrupted and typed again."""

import hashlib
import logging
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from tests.processes import comes
from tests.project import copy_project, kedro_run, run, versions

EPOCHS = 8
SETTINGS: dict[str, Any] = {
    "model": {"K": 2, "L": 2, "hidden_channels": 8},
    "train": {"n_epochs": EPOCHS, "warmup": 0.0, "ema": 0.9, "checkpoint_every": "5steps"},
}
STEPS = 10  # an epoch of digits
PARAMS = ",".join(f"{group}.{name}={value}" for group, leaves in SETTINGS.items() for name, value in leaves.items())
COMMAND = [sys.executable, "-m", "kedro", "run", "--pipelines", "train", "--params"]


class Command:
    """`kedro run --pipelines train` in a process group of its own."""

    def __init__(self, project: Path) -> None:
        self._said = (project / f"said_{len(list(project.glob('said_*')))}").open("wb+")
        self.process = subprocess.Popen(
            [*COMMAND, PARAMS],
            cwd=project,
            env={**os.environ, "COLUMNS": "80"},
            stdout=self._said,
            stderr=self._said,
            start_new_session=True,
        )

    def ends(self) -> int:
        try:
            return self.process.wait(timeout=240)
        finally:
            self.process.kill()

    @property
    def said(self) -> str:
        self._said.seek(0)
        return self._said.read().decode().replace("\r", "\n")

    @property
    def error(self) -> str:
        """The last line, joined where it was wrapped."""
        return " ".join(self.said.partition("Error: ")[2].split())


def checkpoints(project: Path) -> list[Path]:
    return sorted(project.glob("data/06_models/digits/checkpoints/*/*/step_*"))


def digests(project: Path) -> list[str]:
    """Return the digest of the tensors of each stored model and its detector."""
    found = []
    for model in versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors"):
        digest = hashlib.sha256()
        for path in (model, Path(str(model).replace("glow_model", "glow_detector"))):
            with safe_open(path, framework="np") as file:
                for name in sorted(file.keys()):
                    digest.update(name.encode() + file.get_tensor(name).tobytes())
        found.append(digest.hexdigest())
    return found


def mlflow_runs(project: Path) -> list[tuple[str, list[int]]]:
    """Return each run's status and the steps at which it has the bits per dimension of the validation images."""
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        found = database.execute("select run_uuid, status from runs order by start_time").fetchall()
        return [
            (
                status,
                [
                    step
                    for (step,) in database.execute(
                        "select step from metrics where run_uuid = ? and key = 'val/bits_per_dim' order by step", [run]
                    )
                ],
            )
            for run, status in found
        ]


ALL_STEPS = [STEPS * epoch for epoch in range(1, EPOCHS + 1)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the model and the detector of a training that was never interrupted."""
    project = copy_project(tmp_path_factory.mktemp("uninterrupted"))
    run(project, "train", **SETTINGS)
    assert mlflow_runs(project) == [("FINISHED", ALL_STEPS)]
    (digest,) = digests(project)
    return digest


def newest_step(project: Path) -> int:
    """Return the step of the newest checkpoint; -1 if there is none."""
    return max((int(path.name[5:14]) for path in checkpoints(project)), default=-1)


# Appended to the settings of a project: gives tests on a busy machine time to stop a training of a second.
SLOWER = """
import time
from glow_pipeline.training.checkpoint_folder import TrainingFolder

write = TrainingFolder.write


def write_and_wait(folder, checkpoint, keep):
    path = write(folder, checkpoint, keep)
    if checkpoint.step >= {after}:
        time.sleep(0.5)
    return path


TrainingFolder.write = write_and_wait
"""


def stopped_by_sigterm(project: Path, after: int) -> str:
    """Stop the command with SIGTERM once it has a checkpoint of this step or a later one; return what it printed."""
    with (project / "src" / "glow_pipeline" / "settings.py").open("a") as settings:
        settings.write(SLOWER.format(after=after))
    stopped = Command(project)
    assert comes(lambda: newest_step(project) >= after)
    os.killpg(stopped.process.pid, signal.SIGTERM)
    assert stopped.ends() == 143, stopped.said
    assert "Traceback" not in stopped.said
    ((status, steps),) = mlflow_runs(project)
    assert (status, steps) == ("KILLED", ALL_STEPS[: len(steps)])
    assert digests(project) == []
    half_written = {path.name for path in project.rglob("data/**/.*") if path.is_file()} - {".lock"}
    assert half_written == set()
    assert f"| {newest_step(project)}/" in stopped.said, "the checkpoint is of the step that was finished"
    return " ".join(stopped.said.split())


def test_stopped_command_resumes_to_the_same_model(
    tmp_path: Path, uninterrupted: str, caplog: pytest.LogCaptureFixture
) -> None:
    project = copy_project(tmp_path)
    stopped_by_sigterm(project, after=2 * STEPS)
    reached = newest_step(project)
    with caplog.at_level(logging.INFO):
        kedro_run(project, "--pipelines", "train", "--params", PARAMS)
    assert f" from step {reached}," in caplog.text
    assert digests(project) == [uninterrupted]
    assert mlflow_runs(project) == [("FINISHED", ALL_STEPS)]


@pytest.mark.slow
def test_killed_and_stopped_commands_resume_in_one_run(tmp_path: Path, uninterrupted: str) -> None:
    project = copy_project(tmp_path)
    killed = Command(project)
    assert comes(lambda: newest_step(project) >= 2 * STEPS)
    killed.process.kill()
    assert killed.ends() == -signal.SIGKILL
    reached = newest_step(project)

    stopped = stopped_by_sigterm(project, after=reached + STEPS)
    assert f" from step {reached}," in stopped
    reached = newest_step(project)

    again = Command(project)
    assert again.ends() == 0, again.said
    assert f" from step {reached}," in " ".join(again.said.split())
    assert digests(project) == [uninterrupted]
    assert mlflow_runs(project) == [("FINISHED", ALL_STEPS)]


@pytest.mark.slow
def test_full_disk_is_one_line_and_resumable(tmp_path: Path, uninterrupted: str) -> None:
    project = copy_project(tmp_path)
    filled = Command(project)
    assert comes(lambda: newest_step(project) >= 2 * STEPS)
    # From now on no file can grow to the size of a checkpoint, and MLflow's database not at all.
    size = checkpoints(project)[-1].stat().st_size
    resource.prlimit(filled.process.pid, resource.RLIMIT_FSIZE, (size - 1, resource.RLIM_INFINITY))
    assert filled.ends() == 1, filled.said
    assert "cannot be written" in filled.error
    assert "File too large" in filled.error
    assert "make room there and type the same command again" in filled.error
    assert "Traceback" not in filled.said
    assert digests(project) == []
    reached = newest_step(project)

    again = Command(project)
    assert again.ends() == 0, again.said
    assert f" from step {reached}," in " ".join(again.said.split())
    assert digests(project) == [uninterrupted]
    assert mlflow_runs(project) == [("FINISHED", ALL_STEPS)]


@pytest.mark.slow
def test_command_typed_twice_at_once_trains_twice(tmp_path: Path, uninterrupted: str) -> None:
    project = copy_project(tmp_path)
    commands = [Command(project), Command(project)]
    assert [command.ends() for command in commands] == [0, 0], [command.said for command in commands]
    assert digests(project) == [uninterrupted] * 2
    assert mlflow_runs(project) == [("FINISHED", ALL_STEPS)] * 2
    assert len({path.parent for path in checkpoints(project)}) == 2

"""`kedro run`, cut off and typed again."""

import hashlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.processes import comes
from tests.project import copy_project, versions

EPOCHS = 12
PARAMS = (
    f"model.K=2,model.L=2,model.hidden_channels=8,train.n_epochs={EPOCHS},train.warmup=0,train.ema=0.9,"
    "train.checkpoint_every=5steps"
)
STEPS = 10  # an epoch of digits
COMMAND = [sys.executable, "-m", "kedro", "run", "--pipelines", "train", "--params"]


class Command:
    """`kedro run --pipelines train` in a process group of its own."""

    def __init__(self, project: Path, params: str = PARAMS, before: Callable[[], None] | None = None) -> None:
        self._said = (project / f"said_{len(list(project.glob('said_*')))}").open("wb+")
        self.process = subprocess.Popen(
            [*COMMAND, params],
            cwd=project,
            env={**os.environ, "COLUMNS": "80"},
            stdout=self._said,
            stderr=self._said,
            start_new_session=True,
            preexec_fn=before,
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
        """What it says last, as one line."""
        return " ".join(self.said.partition("Error: ")[2].split())


def checkpoints(project: Path) -> list[Path]:
    return sorted(project.glob("data/06_models/digits/checkpoints/*/*/step_*"))


def digests(project: Path) -> list[str]:
    """Of the tensors of each stored model."""
    found = []
    for path in versions(project, "06_models/digits/glow_model.safetensors/*/*"):
        digest = hashlib.sha256()
        with safe_open(path, framework="np") as file:
            for name in sorted(file.keys()):
                digest.update(name.encode() + file.get_tensor(name).tobytes())
        found.append(digest.hexdigest())
    return found


def mlflow_runs(project: Path) -> list[tuple[str, list[int]]]:
    """Of each run its status, and the steps at which it has the bits per dimension of the validation images."""
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        found = database.execute("select run_uuid, status from runs order by start_time").fetchall()
        return [
            (
                status,
                [
                    step
                    for (step,) in database.execute(
                        "select step from metrics where run_uuid = ? and key = 'val_bits_per_dim' order by step", [run]
                    )
                ],
            )
            for run, status in found
        ]


ALL_STEPS = [STEPS * epoch for epoch in range(1, EPOCHS + 1)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the model of a training that was never cut off."""
    project = copy_project(tmp_path_factory.mktemp("uninterrupted"))
    command = Command(project)
    assert command.ends() == 0, command.said
    assert mlflow_runs(project) == [("FINISHED", ALL_STEPS)]
    (digest,) = digests(project)
    return digest


def test_killed_and_typed_again_it_ends_with_the_same_model_in_one_run(tmp_path: Path, uninterrupted: str) -> None:
    project = copy_project(tmp_path)
    killed = Command(project)
    assert comes(lambda: any("step_00000003" in path.name for path in checkpoints(project)))
    killed.process.kill()
    assert killed.ends() == -signal.SIGKILL
    assert digests(project) == []

    again = Command(project)
    assert again.ends() == 0, again.said
    assert re.search(r"goes on from step \d+", " ".join(again.said.split())) is not None
    assert digests(project) == [uninterrupted]
    assert mlflow_runs(project) == [("FINISHED", ALL_STEPS)]


def test_asked_to_stop_it_is_killed_for_mlflow_and_goes_on_in_the_same_run(tmp_path: Path, uninterrupted: str) -> None:
    project = copy_project(tmp_path)
    stopped = Command(project, PARAMS.replace("5steps", "10min"))
    assert comes(lambda: re.search(rf"train:.* {STEPS}\d/", stopped.said))
    os.killpg(stopped.process.pid, signal.SIGTERM)
    assert stopped.ends() == 143, stopped.said
    assert "Traceback" not in stopped.said
    ((status, steps),) = mlflow_runs(project)
    assert (status, steps) == ("KILLED", ALL_STEPS[: len(steps)])
    newest = checkpoints(project)[-1]
    assert len(checkpoints(project)) == 2, "that of the beginning, and that of the stop"
    assert int(newest.name[5:14]) >= STEPS
    assert digests(project) == []
    assert {path.name for path in project.rglob("data/**/.*") if path.is_file()} <= {".lock"}

    again = Command(project, PARAMS.replace("5steps", "10min"))
    assert again.ends() == 0, again.said
    assert f"goes on from step {int(newest.name[5:14])}," in " ".join(again.said.split())
    assert digests(project) == [uninterrupted]
    assert mlflow_runs(project) == [("FINISHED", ALL_STEPS)]

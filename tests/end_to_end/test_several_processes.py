"""One training in several processes, on one machine and on several, by the real command."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from safetensors import safe_open

from tests import proc
from tests.project import copy_project, free_port, versions

pytestmark = proc.on_linux
# 22 steps an epoch, of so little that the start of the processes is what takes time.
TYPED = "model.K=2,model.hidden_channels=8,train.warmup=0,train.batch_size=60,train.checkpoint_every=5steps"
MODEL = "06_models/digits/glow_model.safetensors/*/*.safetensors"
CHECKPOINTS = "06_models/digits/checkpoints/*/*/step_*"


@contextmanager
def started(project: Path, params: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start `kedro run`; kill it with all its processes if a test fails."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--env", "digits", "--pipelines", "train", "--params", params],
        cwd=project,
        env={**os.environ, "COLUMNS": "80", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(project: Path, params: str) -> tuple[int, str]:
    """Run the command to its end; return its exit code and what it printed."""
    with started(project, params) as process:
        return end_of(process)


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    printed = process.communicate(timeout=300)[0]
    return process.returncode, printed


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 150
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def at_work(process: subprocess.Popen[str]) -> list[int]:
    """Return its training processes in the order of their ids; torch's helper process computes next to nothing."""
    return sorted(pid for pid in proc.children(process.pid) if proc.cpu_seconds(pid) > 1)


def step_of(project: Path) -> int:
    """Return the step of the newest checkpoint; -1 if there is none."""
    return max((int(path.name[5:14]) for path in versions(project, CHECKPOINTS)), default=-1)


def tensors(project: Path) -> str:
    """Return the SHA-256 of the names and bytes of the only model's tensors."""
    (path,) = versions(project, MODEL)
    digest = hashlib.sha256()
    with safe_open(path, framework="np") as file:
        for name in sorted(file.keys()):
            digest.update(name.encode() + file.get_tensor(name).tobytes())
    return digest.hexdigest()


def recorded(project: Path) -> tuple[list[str], list[tuple[int, float]]]:
    """Return the statuses of MLflow's runs, and the steps and values of the validation bits per dimension."""
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        statuses = [status for (status,) in database.execute("select status from runs order by start_time")]
        key = "where key = 'val/bits_per_dim' order by step"
        return statuses, list(database.execute(f"select step, value from metrics {key}"))


EPOCHS = 3
TWO = f"{TYPED},train.n_epochs={EPOCHS},train.devices=2"


@pytest.mark.slow
def test_training_survives_a_killed_process(tmp_path: Path) -> None:
    killed_in_the_middle(copy_project(tmp_path))


def killed_in_the_middle(project: Path) -> None:
    """Train in two processes and kill one after the first checkpoint of the second epoch."""
    with started(project, TWO) as process:
        wait_for(lambda: step_of(project) > 22, process)
        working = at_work(process)
        assert len(working) == 2, "both have computed"
        assert proc.open_to_others([process.pid, *proc.children(process.pid)]) == []
        os.kill(working[1], signal.SIGKILL)
        code, printed = end_of(process)
    assert code == 0, printed
    assert printed.count("A process has died: all have been started again") == 1
    assert "Traceback" not in printed
    assert len(versions(project, MODEL)) == 1
    statuses, bits_per_dim = recorded(project)
    assert statuses == ["FINISHED"]
    assert [step for step, _ in bits_per_dim] == [22 * epoch for epoch in range(1, EPOCHS + 1)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("undisturbed"))
    code, printed = run(project, TWO)
    assert code == 0, printed
    return project


def assert_as_undisturbed(project: Path, undisturbed: Path) -> None:
    assert tensors(project) == tensors(undisturbed)
    assert recorded(project) == recorded(undisturbed)


@pytest.mark.slow
def test_killed_process_changes_no_bits(tmp_path: Path, undisturbed: Path) -> None:
    project = copy_project(tmp_path)
    killed_in_the_middle(project)
    assert_as_undisturbed(project, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_ended_command_resumes_to_the_same_bits(tmp_path: Path, undisturbed: Path, by: signal.Signals) -> None:
    project = copy_project(tmp_path)
    with started(project, TWO) as process:
        wait_for(lambda: step_of(project) > 22, process)
        working = at_work(process)
        before = time.monotonic()
        process.send_signal(by)
        code, printed = end_of(process)
        assert time.monotonic() - before < 30, "no process was waited for in vain"
    assert code == (-by if by == signal.SIGKILL else 128 + by), printed
    assert not any(map(proc.alive, working))
    if by == signal.SIGTERM:
        assert recorded(project)[0] == ["KILLED"]
        assert "Traceback" not in printed
    stopped_at = step_of(project)
    code, printed = run(project, TWO)
    assert code == 0, printed
    assert f" from step {stopped_at}" in " ".join(printed.split())
    assert_as_undisturbed(project, undisturbed)


@pytest.mark.slow
def test_size_per_device_is_the_complete_batch(tmp_path: Path, undisturbed: Path) -> None:
    """30 images in each of two processes are the 60 of `undisturbed`, to the last bit."""
    project = copy_project(tmp_path)
    code, printed = run(project, TWO.replace("train.batch_size=60", "train.batch_size_per_device=30"))
    assert code == 0, printed
    assert "steps of 60 images (30 in each of 2 processes)" in " ".join(printed.split())
    assert_as_undisturbed(project, undisturbed)
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        query = "select key, value from params where key like 'train.batch_size%'"
        assert dict(database.execute(query)) == {"train.batch_size": "60", "train.batch_size_per_device": "30"}


@pytest.mark.slow
def test_without_restarts_a_dead_process_ends_training(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    with started(project, f"{TWO},train.max_restarts=0") as process:
        wait_for(lambda: step_of(project) > 0, process)
        os.kill(at_work(process)[1], signal.SIGKILL)
        code, printed = end_of(process)
    assert code == 1
    assert printed.splitlines()[-1] == (
        "Error: train.devices: process 1 of 2 was killed by SIGKILL (out of memory?); after train.max_restarts=0 "
        "restarts from the last checkpoint it is not tried again; fix what it says and type the same command again"
    )
    assert "Traceback" not in printed
    assert recorded(project)[0] == ["FAILED"]


def machines(projects: list[Path], params: str, n: int = 2) -> list[tuple[int, str]]:
    """Type the same command on each of two machines, which here are one."""
    params = f"{params},train.nodes={n},train.rendezvous=127.0.0.1:{free_port()}"
    with started(projects[0], params, NODE_RANK="0") as first, started(projects[1], params, NODE_RANK="1") as second:
        return [end_of(first), end_of(second)]


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_two_machines_train_as_two_processes(tmp_path: Path, undisturbed: Path, shared: bool) -> None:
    names = ["first", "first" if shared else "second"]
    for name in set(names):
        (tmp_path / name).mkdir()
        copy_project(tmp_path / name, mlflow_used=False)
    projects = [tmp_path / name for name in names]
    (code, printed), (code_of_helper, printed_by_helper) = machines(projects, f"{TYPED},train.n_epochs={EPOCHS}")
    assert (code, code_of_helper) == (0, 0), printed + printed_by_helper
    assert "This machine has helped; the trained model is on the first one." in " ".join(printed_by_helper.split())
    assert_as_undisturbed(projects[0], undisturbed)  # two processes are two processes
    if not shared:
        assert not (projects[1] / "mlflow.db").exists()
        assert versions(projects[1], "06_models/**/*") == []

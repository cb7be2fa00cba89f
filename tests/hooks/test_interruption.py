"""Commands that a signal ends."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NoReturn

import pytest
from kedro.framework.hooks import hook_impl

from glow_pipeline.signals import SIGNALS
from tests.hooks.helpers import RaisesInsteadOf, run_with
from tests.project import copy_project, run


@pytest.fixture
def before() -> Iterator[list[object]]:
    """The handlers outside of runs, which are restored whatever a test does."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield [signal.getsignal(number) for number in SIGNALS]
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Calls:
    """A hook that calls a function before each node."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    @hook_impl
    def before_node_run(self) -> None:
        self._function()


def terminated() -> NoReturn:
    signal.raise_signal(signal.SIGTERM)
    raise AssertionError("the signal ended nothing")


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_handlers_of_signals_last_as_long_as_runs(tmp_path: Path, before: list[object], enabled: str) -> None:
    project = copy_project(tmp_path)
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text(f"enabled: {enabled}\n")
    with pytest.raises(SystemExit) as ended:
        run_with(Calls(terminated), project, "ingest")
    assert ended.value.code == 128 + signal.SIGTERM
    with pytest.raises(ValueError, match="no such luck"):
        run_with(RaisesInsteadOf("ingest.ingest_test_images", ValueError("no such luck")), project, "ingest")
    assert [signal.getsignal(number) for number in SIGNALS] == before
    run(project, "ingest")
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.slow
def test_ctrl_c_ends_a_command_with_130(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--pipelines", "train", "--params", "model.K=2,train.n_epochs=100000"],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # pytest itself may run in the background
    )
    try:
        deadline = time.monotonic() + 120
        while not trained_a_while(project) and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        assert database.execute("select status from runs").fetchall() == [("KILLED",)]


def trained_a_while(project: Path) -> bool:
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(project / "mlflow.db", timeout=5)) as database:
        return bool(database.execute("select count(*) from metrics").fetchone()[0])
    return False

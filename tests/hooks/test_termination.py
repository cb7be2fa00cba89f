import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from glow_pipeline.hooks.termination import SIGNALS, ExitOnSignals
from tests.project import copy_project, run


@pytest.fixture
def before() -> Iterator[list[object]]:
    """The handlers that are there without us, which are put back whatever a test does."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield [signal.getsignal(number) for number in SIGNALS]
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_command_with_128_and_its_number(before: list[object], number: signal.Signals) -> None:
    signals = ExitOnSignals()
    signals.install()
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(number)
    assert ended.value.code == 128 + number
    signals.restore()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_is_ignored_stays_ignored(before: list[object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals = ExitOnSignals()
    signals.install()
    signal.raise_signal(signal.SIGINT)
    signals.restore()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_forked_worker_takes_signals_as_without_us(before: list[object]) -> None:
    signals = ExitOnSignals()
    signals.install()
    worker = os.fork()
    if worker == 0:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:  # what a DataLoader's workers wait for
            os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    _, status = os.waitpid(worker, 0)
    signals.restore()
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_a_run_has_its_handlers_for_its_time(
    tmp_path: Path, before: list[object], monkeypatch: pytest.MonkeyPatch, enabled: str
) -> None:
    def terminated(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    def broken(*_: object) -> None:
        raise ValueError("no such luck")

    project = copy_project(tmp_path)
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text(f"enabled: {enabled}\n")
    with monkeypatch.context() as patch:
        patch.setattr("glow_pipeline.pipelines.ingest.nodes.plan_table", terminated)
        with pytest.raises(SystemExit) as ended:
            run(project, "ingest")
        assert ended.value.code == 128 + signal.SIGTERM
        patch.setattr("glow_pipeline.pipelines.ingest.nodes.plan_table", broken)
        with pytest.raises(ValueError, match="no such luck"):
            run(project, "ingest")
    assert [signal.getsignal(number) for number in SIGNALS] == before
    run(project, "ingest")
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.slow
def test_ctrl_c_ends_the_real_command_with_130_and_its_run_as_killed(tmp_path: Path) -> None:
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

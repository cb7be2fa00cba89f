"""The launcher of several processes. Each start of them takes seconds: a test looks at several things."""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from glow_pipeline.errors import GlowPipelineError, TrainingStopped
from glow_pipeline.signals import SIGNALS
from glow_pipeline.threads import usable_cores
from glow_pipeline.training.distributed.launch import _join, launch
from tests import proc
from tests.project import ROOT, free_port
from tests.training import workers

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


def launch_two(worker: Callable[..., None], folder: Path, max_restarts: int) -> None:
    """Launch, and check that signals are handled as before in the end."""
    before = [signal.signal(signum, lambda *_: None) for signum in SIGNALS]
    ours = [signal.getsignal(signum) for signum in SIGNALS]
    try:
        launch(worker, (folder,), per_machine=2, machines=1, rendezvous=None, max_restarts=max_restarts)
    finally:
        now = [signal.getsignal(signum) for signum in SIGNALS]
        for signum, handler in zip(SIGNALS, before, strict=True):
            signal.signal(signum, handler)
        assert now == ours
        assert not any(proc.alive(int(pid)) for each in starts(folder) for pid, *_ in each)


def starts(folder: Path) -> list[list[list[str]]]:
    """Return process id, whether restarted, and threads, for each start of each process."""
    return [[line.split() for line in (folder / f"starts_{rank}").read_text().splitlines()] for rank in range(2)]


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@proc.on_linux
@pytest.mark.slow
def test_dead_process_is_restarted_as_often_as_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    reachable: list[str] = []

    def look() -> None:
        wait_for((tmp_path / "looked").exists)
        reachable.extend(proc.open_to_others([os.getpid(), *proc.children(os.getpid())]))
        reachable.append("looked")
        (tmp_path / "seen").touch()

    looking = threading.Thread(target=look)
    looking.start()
    with pytest.raises(GlowPipelineError) as refused, caplog.at_level(logging.WARNING):
        launch_two(workers.killed_then_failing, tmp_path, max_restarts=1)
    looking.join()
    assert str(refused.value) == (
        "train.devices: process 1 of 2 failed (ValueError: no such luck); after train.max_restarts=1 restarts from "
        "the last checkpoint it is not tried again; fix what it says and type the same command again"
    )
    assert [[restarted for _, restarted, _ in each] for each in starts(tmp_path)] == [["False", "True"]] * 2
    cores_each = max(1, usable_cores() // 2)
    assert {threads for each in starts(tmp_path) for *_, threads in each} == {str(cores_each)}
    assert reachable == ["looked"], "no port is open to the network"
    assert caplog.records == [], "torch's own pages of what happened"
    assert [path.name for path in temporary.iterdir() if "errorfile" not in path.name] == []  # torch.multiprocessing's


def test_error_of_the_user_ends_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(GlowPipelineError) as refused:
        launch_two(workers.mistaken, tmp_path, max_restarts=3)
    assert str(refused.value) == "train.some=1: should be 2"
    assert [len(each) for each in starts(tmp_path)] == [1, 1]


@pytest.mark.slow
def test_exhausted_memory_is_raised_without_a_restart(tmp_path: Path) -> None:
    with pytest.raises(torch.OutOfMemoryError, match=r"^CUDA out of memory$"):
        launch_two(workers.too_large, tmp_path, max_restarts=3)
    assert [len(each) for each in starts(tmp_path)] == [1, 1]


@pytest.mark.slow
def test_stop_leaves_the_processes_their_time(tmp_path: Path) -> None:
    def stop() -> None:
        wait_for(lambda: all((tmp_path / f"starts_{rank}").exists() for rank in range(2)))
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=stop)
    asking.start()
    started = time.monotonic()
    with pytest.raises(TrainingStopped) as stopped:
        launch_two(workers.stopping, tmp_path, max_restarts=3)
    asking.join()
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert time.monotonic() - started < 30, "none of them was waited for in vain"
    assert all((tmp_path / f"stopped_{rank}").exists() for rank in range(2))
    assert [len(each) for each in starts(tmp_path)] == [1, 1]


@proc.on_linux
def test_processes_end_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    """One of them sleeps, the other waits for it, and no Python runs there that could look."""
    launcher = subprocess.Popen(
        [sys.executable, "-m", "tests.training.workers", "waiting", str(tmp_path), "0"], cwd=ROOT
    )
    try:
        assert wait_for(lambda: all((tmp_path / f"starts_{rank}").exists() for rank in range(2)))
        pids = [int(each[0][0]) for each in starts(tmp_path)]
        time.sleep(0.5)
        assert all(map(proc.alive, pids))
    finally:
        launcher.kill()
        launcher.wait()
    assert wait_for(lambda: not any(map(proc.alive, pids)))


def on_two_machines(worker: str, folder: Path) -> list[tuple[int, str]]:
    """Launch on two machines, which here are one; return each exit code and the last line that was printed."""
    command = [sys.executable, "-m", "tests.training.workers", worker, str(folder), str(free_port())]
    launchers = [
        subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "NODE_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    try:
        printed = [launcher.communicate(timeout=200)[1] for launcher in launchers]
    finally:
        for launcher in launchers:
            launcher.kill()
    return [
        (launcher.returncode, (lines.splitlines() or [""])[-1])
        for launcher, lines in zip(launchers, printed, strict=True)
    ]


@pytest.mark.slow
def test_dead_process_restarts_those_of_all_machines(tmp_path: Path) -> None:
    assert [code for code, _ in on_two_machines("killed_on_the_second_machine", tmp_path)] == [0, 0]
    assert [(tmp_path / f"machine_{rank}").read_text() for rank in range(2)] == ["False True "] * 2


@pytest.mark.slow
def test_error_on_one_machine_ends_all(tmp_path: Path) -> None:
    line = "glow_pipeline.errors.GlowPipelineError: train.some=1: should be 2"
    assert on_two_machines("mistaken_on_the_first_machine", tmp_path) == [(1, line)] * 2
    assert [(tmp_path / f"machine_{rank}").read_text() for rank in range(2)] == ["False "] * 2


def test_invalid_meeting_point_is_refused(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("NODE_RANK", "0")
    for rendezvous in ("no such host.invalid:1", "127.0.0.1:port"):
        with pytest.raises(
            GlowPipelineError, match=rf"^train\.rendezvous={rendezvous}: no way there from this machine"
        ):
            launch(workers.waiting, (), per_machine=1, machines=2, rendezvous=rendezvous, max_restarts=0)


def test_meeting_point_with_a_taken_port_is_refused(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("NODE_RANK", "0")
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        meeting = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            GlowPipelineError, match=rf"^train\.rendezvous={meeting}: the 2 machines did not meet there"
        ):
            launch(workers.waiting, (), per_machine=1, machines=2, rendezvous=meeting, max_restarts=0)


@pytest.mark.parametrize("on_gpus", [True, False])
def test_processes_on_gpus_have_one_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_gpus: bool) -> None:
    """The GPUs are pretended. Processes on CPUs use none, whatever the machine has."""
    names = {"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}
    for name, value in {**names, "TORCHELASTIC_RESTART_COUNT": "0"}.items():
        monkeypatch.setenv(name, value)
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "lo")
    used, joined = list[torch.device](), dict[str, Any]()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **given: joined.update(given, backend=backend))
    _join(tmp_path, None, on_gpus)
    gpu = torch.device("cuda", 1)
    assert used == ([gpu] if on_gpus else [])
    assert joined["device_id"] == (gpu if on_gpus else None)
    assert joined["backend"] == ("cpu:gloo,cuda:nccl" if on_gpus else "gloo")

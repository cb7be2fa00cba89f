"""`make viz`: the picture of the pipelines, served until a signal ends it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kedro_viz import __version__ as kedro_viz_version

from tests.proc import alive, children, on_linux, open_to_others
from tests.processes import comes
from tests.project import ROOT, copy_project, environment_of_make, free_port

pytestmark = [on_linux, pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")]


@contextmanager
def drawn(project: Path, port: int, *variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run `make viz` in a process group of its own until it answers, with the environment of these tests."""
    shutil.copy(ROOT / "Makefile", project / "Makefile")
    (project / "requirements.lock").touch()
    installed = project / ".venv" / ".installed"
    installed.parent.mkdir()
    installed.write_text(f"{project.resolve()}\n")
    command = ["make", "viz", f"PORT={port}", f"BIN={Path(sys.executable).parent}", "INSTALLED=.venv/.installed"]
    process = subprocess.Popen(
        [*command, *variables],
        cwd=project,
        env=environment_of_make(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        if not comes(lambda: answers(port) or process.poll() is not None) or process.poll() is not None:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(process.communicate()[0])
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def processes(pid: int) -> list[int]:
    """Return a process and all below it."""
    return [pid, *(below for child in children(pid) for below in processes(child))]


def test_make_ended_leaves_no_server(tmp_path: Path) -> None:
    """SIGTERM for make alone, as from a service manager; nothing was made, and so nothing is warned of."""
    port = free_port()
    with drawn(copy_project(tmp_path), port, "PARAMS=dataset=mnist,out_dataset=svhn") as make:
        found = processes(make.pid)
        assert open_to_others(found) == []
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/main") as page:
            nodes = {node["name"]: node["id"] for node in json.load(page)["nodes"]}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/nodes/{nodes['ood_roc']}") as page:
            shown = json.load(page)
        assert shown["filepath"].endswith("data/08_reporting/mnist/vs_svhn/ood_roc.png")
        assert "preview" not in shown
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/version") as page:
            version = json.load(page)
        assert version == {"installed": kedro_viz_version, "is_outdated": False, "latest": kedro_viz_version}
        make.send_signal(signal.SIGTERM)
        assert comes(lambda: not answers(port))
        assert comes(lambda: not any(map(alive, found[1:])))
        lines = make.communicate(timeout=60)[0].splitlines()
    assert [line for line in lines if not line.startswith(("exec ", "make: "))] == [
        f"The pipelines are drawn at http://127.0.0.1:{port}/; Ctrl-C ends it."
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_the_group_frees_the_port(tmp_path: Path, number: int) -> None:
    port = free_port()
    with drawn(copy_project(tmp_path), port) as make:
        os.killpg(make.pid, number)
        assert comes(lambda: not answers(port))
        make.communicate(timeout=60)

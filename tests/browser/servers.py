"""`make ui` and `make viz` in a copy of the project, until a test has looked at their pages."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import comes
from tests.project import ROOT, environment_of_make, free_port

PATIENCE = 240  # seconds


@contextmanager
def made(target: str, project: Path) -> Iterator[str]:
    """Run a target of the Makefile that serves pages within the block, and yield their address."""
    installed = project / "installed"
    port, log = free_port(), project / f"{target}.log"
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, project / name)
    installed.write_text(f"{project.resolve()}\n")
    # The environment of these tests in place of the copy's own, which would have to be installed first.
    variables = [f"BIN={Path(sys.executable).parent}", f"INSTALLED={installed}", f"PORT={port}"]
    typed = ["make", "-f", str(ROOT / "Makefile"), *variables, target]
    with log.open("wb") as output:
        process = subprocess.Popen(
            typed, cwd=project, stdout=output, stderr=output, start_new_session=True, env=environment_of_make()
        )
    address = f"http://127.0.0.1:{port}"
    try:
        assert comes(lambda: process.poll() is not None or answers(address), PATIENCE), log.read_text()
        assert process.poll() is None, log.read_text()
        yield address
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)


def answers(address: str) -> bool:
    try:
        return bool(urllib.request.urlopen(address, timeout=10).status == 200)
    except (urllib.error.URLError, OSError):
        return False

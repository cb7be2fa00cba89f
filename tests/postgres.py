"""A PostgreSQL server for tests, where the machine has one."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.project import free_port


@contextmanager
def postgres() -> Iterator[str]:
    """Start one on loopback in a folder of its own, and yield its address; skip the test where there is none."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed")
    bin_folder, port = Path(initdb).parent, free_port()
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(prefix="postgres_") as folder:
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        data = Path(folder) / "data"
        made = [initdb, "--pgdata", str(data), "--username", "glow", "--auth", "trust", "--no-sync"]
        subprocess.run(made, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)
        control = [str(bin_folder / "pg_ctl"), "--pgdata", str(data), "--wait"]
        options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={folder} -c fsync=off"
        start = [*control, "--log", f"{folder}/log", "--options", options, "start"]
        subprocess.run(start, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)
        try:
            yield f"postgresql+psycopg2://glow@127.0.0.1:{port}/postgres"
        finally:
            stop = [*control, "--mode", "immediate", "stop"]
            subprocess.run(stop, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)

"""Running processes, as Linux shows them in /proc."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

PROC = Path("/proc")
LISTENING = "0A"  # include/net/tcp_states.h
LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")

on_linux = pytest.mark.skipif(not PROC.is_dir(), reason="there is no /proc here")


def children(pid: int) -> list[int]:
    """Return the children of a process, without theirs."""
    return [child for child in _all() if (stat := _stat(child)) and int(stat[1]) == pid]


def alive(pid: int) -> bool:
    """Return whether a process runs; not if it has ended and was not waited for."""
    stat = _stat(pid)
    return bool(stat) and stat[0] != "Z"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process."""
    stat = _stat(pid)
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK") if stat else 0.0


def open_to_others(pids: list[int]) -> list[str]:
    """Return the TCP addresses, as in /proc/net, at which these processes listen to other machines."""
    sockets = {link for pid in pids for link in _links(pid) if link.startswith("socket:")}
    lines = [line.split() for name in ("tcp", "tcp6") for line in (PROC / "net" / name).read_text().splitlines()[1:]]
    return [
        line[1]
        for line in lines
        if line[3] == LISTENING and f"socket:[{line[9]}]" in sockets and line[1].partition(":")[0] not in LOOPBACK
    ]


def _all() -> list[int]:
    return [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Return state, parent, ...; nothing if there is no such process."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _links(pid: int) -> list[str]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return [str(path.readlink()) for path in (PROC / str(pid) / "fd").iterdir()]
    return []

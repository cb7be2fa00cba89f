"""SHA-256 of a folder's files; a file that two splits need is read once."""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from glow_pipeline.files import sha256
from glow_pipeline.images.sources.names import Names
from glow_pipeline.threads import usable_cores

FILES_A_TASK = 16
TASKS = 256  # handed to the threads at a time
DIGEST = 32  # bytes
# A file that changed so shortly before it was read may change again with the same time stamp.
RECENT = 2.0  # seconds

# Stamps (n,) and digests (n, 32) of the last folder, for its other split.
_last: dict[Path, tuple[NDArray[np.int64], NDArray[np.uint8]]] = {}


def file_digests(folder: Path, names: Names, *, reuse: bool = False) -> NDArray[np.uint8]:
    """Return the SHA-256 of each file, of the error's number where it cannot be read.

    Args:
        names: names of the files, relative to the folder.
        reuse: take the digests of the last call for files that have not changed since (by size, times and inode),
            and keep these for the next call; 40 bytes a file.

    Returns:
        uint8 (n, 32).
    """
    known = _last.pop(folder, None) if reuse else None
    if reuse:
        _last.clear()
    if known is not None and len(known[0]) != len(names):
        known = None
    stamps, digests = np.zeros(len(names), dtype=np.int64), np.empty((len(names), DIGEST), dtype=np.uint8)

    def fill(index: int) -> None:
        path = folder / names[index]
        stamps[index] = _stamp(path, names[index])
        if known is not None and stamps[index] and known[0][index] == stamps[index]:
            digests[index] = known[1][index]
            return
        try:
            digest = bytes.fromhex(sha256(path))
        except OSError as problem:  # decoding will name it
            digest = hashlib.sha256(f"unreadable {problem.errno}".encode()).digest()
        digests[index] = np.frombuffer(digest, np.uint8)

    def fill_from(start: int) -> int:
        rows = range(start, min(start + FILES_A_TASK, len(names)))
        for index in rows:
            fill(index)
        return len(rows)

    with (
        ThreadPoolExecutor(usable_cores()) as threads,
        tqdm(total=len(names), desc=f"check {folder.name}", unit="file", delay=2) as bar,
    ):
        starts = range(0, len(names), FILES_A_TASK)
        # A pool takes all tasks of a map at once, and there may be millions of files.
        for first in range(0, len(starts), TASKS):
            for n_files in threads.map(fill_from, starts[first : first + TASKS]):
                bar.update(n_files)
    if reuse:
        _last[folder] = stamps, digests
    return digests


def _stamp(path: Path, name: str) -> int:
    """Return a number that differs when the file changes or is replaced; 0 where that cannot be known."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return 0
    if max(status.st_mtime, status.st_ctime) > time.time() - RECENT:
        return 0
    return hash((name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino))

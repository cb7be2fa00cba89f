"""SHA-256 of a folder's files; a file that has not changed since it was last read is not read again."""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from glow_pipeline.files import sha256
from glow_pipeline.images.sources.kept_digests import DIGEST, KeptDigests, KnownDigests
from glow_pipeline.images.sources.names import Names
from glow_pipeline.threads import usable_cores

FILES_A_TASK = 64
TASKS = 256  # handed to the threads at a time
# A file that changed so shortly before it was read may change again with the same time stamp.
RECENT = 2.0  # seconds

logger = logging.getLogger(__name__)


def file_digests(folder: Path, names: Names, kept: KeptDigests) -> NDArray[np.uint8]:
    """Return the SHA-256 of each file, of the error's number where it cannot be read.

    Args:
        names: names of the files, relative to the folder.
        kept: digests of files that were read before; those of files that have not changed since (by size, times and
            inode) are taken from there, and all are kept there.

    Returns:
        uint8 (n, 32).
    """
    by_this_command, known = kept.was_read_now(folder), kept.known(folder)
    top, until = os.path.join(os.fsencode(folder), b""), time.time() - RECENT  # noqa: PTH118  # many, and pathlib is slow
    stamps, digests = np.zeros(len(names), dtype=np.int64), np.empty((len(names), DIGEST), dtype=np.uint8)

    def stamp(index: int) -> None:
        stamps[index] = _stamp(top, names.encoded(index), until)

    def read(index: int) -> None:
        try:
            digest = bytes.fromhex(sha256(folder / names[index]))
        except OSError as problem:  # decoding will name it; the next command tries again
            digest = hashlib.sha256(f"unreadable {problem.errno}".encode()).digest()
            stamps[index] = 0
        digests[index] = np.frombuffer(digest, np.uint8)

    # Stamps first: a file that changes while or after it is read has another one at the next look.
    _for_each(stamp, range(len(names)), f"look at {folder.name}")
    found = np.zeros(len(names), dtype=bool) if known is None else known.fill(stamps, digests)
    others = np.flatnonzero(~found)
    _for_each(read, others, f"check {folder.name}")
    if found.any() and not by_this_command:
        logger.info(
            "%s: %s of %s files have not changed and are not read again", folder, f"{found.sum():,}", f"{len(names):,}"
        )
    kept.keep(folder, KnownDigests(stamps, digests), changed=bool(stamps[others].any()))
    return digests


def _for_each(work: Callable[[int], None], indices: Sequence[int] | NDArray[np.int64], title: str) -> None:
    """Do some work for each index, in a thread for each core, with a progress bar if it takes long."""

    def do(start: int) -> int:
        some = indices[start : start + FILES_A_TASK]
        for index in some:
            work(int(index))
        return len(some)

    with (
        ThreadPoolExecutor(usable_cores()) as threads,
        tqdm(total=len(indices), desc=title, unit="file", delay=2) as bar,
    ):
        starts = range(0, len(indices), FILES_A_TASK)
        # A pool takes all tasks of a map at once, and there may be millions of files.
        for first in range(0, len(starts), TASKS):
            for n_files in threads.map(do, starts[first : first + TASKS]):
                bar.update(n_files)


def _stamp(top: bytes, name: bytes, until: float) -> int:
    """Return a number that differs when the file changes or is replaced; 0 where that cannot be known.

    The device is no part of it: it differs after a share was mounted again.

    Args:
        top: the folder, with a separator at its end.
        until: the latest time of a change after which another one has another time stamp.
    """
    try:
        status = os.stat(top + name)  # noqa: PTH116
    except OSError:
        return 0
    if max(status.st_mtime, status.st_ctime) > until:
        return 0
    facts = b"%d %d %d %d " % (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return int.from_bytes(hashlib.blake2b(facts + name, digest_size=8).digest(), "little", signed=True)

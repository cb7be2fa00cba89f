"""Files that are written completely or not at all, and flushed to disk before they get their name."""

import errno
import hashlib
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from glow_pipeline.errors import GlowPipelineError

VERSION = re.compile(r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d\.\d{3}Z")  # of an artifact: the start of its command
VERSION_TIME = "%Y-%m-%dT%H.%M.%S.%fZ"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

logger = logging.getLogger(__name__)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` at the end of the block.

    The block may make a file or a folder there. If the block fails or the process dies, `path` stays as it was, so no
    reader sees an incomplete file. An existing file is replaced; an existing folder is not.

    Raises:
        GlowPipelineError: the disk is full, or the user's quota is used up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid.uuid4().hex[:8]}.{path.name}"
    try:
        yield temporary
        flush_all(temporary)
        rename_whole(temporary, path)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise GlowPipelineError(
            f"{path}: cannot be written ({error.strerror}); make room there and type the same command again"
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def replaced_between(text: str, start: str, end: str, new: str) -> str:
    """Return a text with something new between two of its lines.

    Raises:
        GlowPipelineError: it does not have them.
    """
    before, found, rest = text.partition(start)
    _, found_too, after = rest.partition(end)
    if not found or not found_too:
        raise GlowPipelineError(f"a page lacks {start.strip()} or {end.strip()}, between which text is written; add it")
    return before + start + new + end + after


def typed_path(text: str | Path) -> Path:
    """Return the absolute path that a person has typed: relative to the working directory, or beginning with ~."""
    # pathlib's expanduser raises for an unknown user, and its absolute keeps `a/../b`.
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold a lock file for the block; if another process has it for more than a second, log a line and wait."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        logger.info("%s", waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def stored_versions(folder: Path) -> list[Path]:
    """Return the files of all versions in the folder of a versioned catalog entry, newest first."""
    return sorted(folder.glob(f"*/{folder.name}"), reverse=True)


def rename_whole(path: Path, target: Path) -> None:
    """Rename a complete file or folder on its disk, and flush the folder of its new name."""
    path.replace(target)
    flush(target.parent)


def flush_all(path: Path) -> None:
    """Flush a file, or a folder with all that is in it, to disk."""
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        flush(part)


def flush(path: Path) -> None:
    """Flush a file or a folder to disk. Windows cannot open folders, and flushes renames by itself."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a complete file a second name; copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sha256(path: Path) -> str:
    """Return the hex SHA-256 digest of a file, which is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

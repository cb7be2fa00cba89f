"""Files are written whole or not at all, and flushed before anyone is told that they are there."""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glow_pipeline.errors import GlowPipelineError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; at the end of the block it becomes `path` in one step.

    The block may make a file or a folder there. If the block fails, or the process dies, `path` is as
    it was before: a reader never sees a half. An existing file is replaced; an existing folder is not.

    Raises:
        GlowPipelineError: the disk is full, or the user's part of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid.uuid4().hex[:8]}.{path.name}"
    try:
        yield temporary
        for part in [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]:
            _flush(part)
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


def rename_whole(path: Path, target: Path) -> None:
    """Give a finished file or folder another name in its folder, and flush that."""
    path.replace(target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    """Fsync a file or a folder. (Windows cannot open folders; its renames are flushed by themselves.)"""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a finished file a second name; copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

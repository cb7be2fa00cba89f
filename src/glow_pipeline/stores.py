"""Places of many files that are written once: a folder on a disk, or a folder in a bucket.

A file is complete or absent, and never changes: whoever writes a name again writes the same bytes. So no place
needs a lock, a rename of what others read, or a seek.
"""

import errno
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from glow_pipeline.buckets import Address, is_address
from glow_pipeline.files import flush, rename_whole, written_whole

CLAIM_SECONDS = 2.0  # within which a claim in a bucket, which has no locks, is seen by those that came at the same time


class Place(Protocol):
    """A folder, or an address of one: `Path` or `buckets.Address`. No union, of which Kedro warns in a node's types."""

    def __truediv__(self, name: str, /) -> "Place":
        """Return the folder of this name in it."""
        ...


class Store(Protocol):
    """A flat place of files by name. It is sent to other processes, so it must pickle."""

    def names(self) -> set[str]:
        """Return the names of the files that are there; none where the place does not exist yet."""
        ...

    def read(self, name: str) -> bytes:
        """Return the content of a small file.

        Raises:
            FileNotFoundError: it is not there.
        """
        ...

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file of any size to a local path.

        Raises:
            FileNotFoundError: it is not there.
        """
        ...

    def put(self, name: str, written: Path) -> None:
        """Take over a complete local file, which is gone afterwards."""
        ...

    def claim(self, name: str, by: str) -> str:
        """Return who has claimed this name: `by`, unless another one was first. A claim lasts."""
        ...

    def delete(self) -> None:
        """Remove the place with all its files, if it exists."""
        ...

    @property
    def folder(self) -> Path | None:
        """The local folder that this is; None for a bucket."""
        ...


@dataclass(frozen=True)
class FolderStore:
    """A folder on a disk, which several machines may share."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def folder(self) -> Path:
        return self.path

    def names(self) -> set[str]:
        try:
            return {name for name in os.listdir(self.path) if not name.startswith(".")}  # noqa: PTH208  # may be many
        except FileNotFoundError:
            return set()

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def fetch(self, name: str, target: Path) -> None:
        shutil.copyfile(self.path / name, target)

    def put(self, name: str, written: Path) -> None:
        """Take over a complete local file, without a temporary one here if it is on the same disk.

        Another command may rename this folder at any moment, when it has found all files in it.
        """
        flush(written)
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            rename_whole(written, self.path / name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with written_whole(self.path / name) as temporary:
                shutil.copyfile(written, temporary)
            written.unlink()

    def claim(self, name: str, by: str) -> str:
        """Return who has claimed this name: a folder gets it that has a file of its owner, if no other folder has it.

        Such a rename is possible once, also on a network drive without locks.
        """
        claimed, own = self.path / name, self.path / f".{uuid.uuid4().hex[:8]}.{name}"
        own.mkdir(parents=True)
        (own / by).touch()
        try:
            rename_whole(own, claimed)
        except OSError:
            shutil.rmtree(own)
            if not claimed.is_dir():
                raise
        (first,) = os.listdir(claimed)  # noqa: PTH208
        return first

    def delete(self) -> None:
        """Remove the folder: first under another name, so that nobody finds a part of its files."""
        gone = self.path.with_name(f".{uuid.uuid4().hex[:8]}.{self.path.name}")
        try:
            self.path.rename(gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True)


@dataclass(frozen=True)
class BucketStore:
    """A folder in object storage, where a file appears when its upload is complete.

    Every method raises GlowPipelineError where the storage refuses or does not answer.
    """

    address: Address

    def __str__(self) -> str:
        return str(self.address)

    @property
    def folder(self) -> None:
        return None

    def names(self) -> set[str]:
        return {file.name for file in self.address.listed()}

    def read(self, name: str) -> bytes:
        return b"".join((self.address / name).blocks())

    def fetch(self, name: str, target: Path) -> None:
        (self.address / name).download(target)

    def put(self, name: str, written: Path) -> None:
        (self.address / name).upload(written)
        written.unlink()

    def claim(self, name: str, by: str) -> str:
        """Return who has claimed this name; of several that claim it within seconds the first in alphabetical order."""
        claims = BucketStore(self.address / name)
        if not claims.names():
            with TemporaryDirectory() as folder:
                (Path(folder) / by).write_text(by, encoding="utf-8")
                claims.put(by, Path(folder) / by)
            time.sleep(CLAIM_SECONDS)
        return min(claims.names())

    def delete(self) -> None:
        self.address.delete()


def store_at(place: str | Place) -> Store:
    """Return the store at a path or an address, which may be text: s3://bucket/folder."""
    if isinstance(place, Address):
        return BucketStore(place)
    return BucketStore(Address(str(place))) if is_address(str(place)) else FolderStore(Path(str(place)))

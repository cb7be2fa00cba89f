"""Addresses of object storage (S3, Google Cloud, Azure), by `pyarrow.fs`, which is imported when one is used."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from glow_pipeline.answers import FAILURES, GIVEN_UP_AFTER, answer_of
from glow_pipeline.bucket_connection import connected, storage_of
from glow_pipeline.errors import GlowPipelineError, first_line

SCHEMES = "s3a?|gs|gcs|abfss?"
ADDRESS = re.compile(rf"({SCHEMES})://([^/?#]+)/?([^?#]*)")
FORMS = "s3://bucket/folder, gs://bucket/folder or abfs://container@account.dfs.core.windows.net/folder"
BLOCK = 8 * 2**20  # bytes of one request for a part of a file


class Listed(NamedTuple):
    """A file of a listing.

    Attributes:
        name: relative to the address that was listed.
        size: bytes.
        mtime_ns: time of its upload; 0 where the storage does not say.
    """

    name: str
    size: int
    mtime_ns: int


def as_typed(path: Path) -> str:
    """Return a path as it is typed: pathlib makes s3:/ of the s3:// of an address, and no other path begins so."""
    return re.sub(rf"^({SCHEMES}):/(?=[^/])", r"\1://", str(path))


def is_address(place: str) -> bool:
    """Return whether this is an address of object storage, and not a path."""
    return ADDRESS.match(place) is not None


@dataclass(frozen=True)
class Address:
    """A file or folder in object storage. It pickles, and connects when it is first used.

    Methods raise GlowPipelineError, one line, where the storage refuses or does not answer.

    Attributes:
        text: as it is typed: s3://bucket/folder.
        options: of the connection, as `connection_options` returns them; all others are those of the environment.
    """

    text: str
    options: tuple[tuple[str, Any], ...] = ()

    def __repr__(self) -> str:
        return f"Address({self.text})"  # without secrets

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> "Address":
        return Address(f"{self.text.rstrip('/')}/{name}", self.options)

    @property
    def name(self) -> str:
        """Last part of the address."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> "Address":
        """The folder that this is in."""
        return Address(self.text.rstrip("/").rpartition("/")[0], self.options)

    @property
    def path(self) -> str:
        """Path of `pyarrow.fs`: bucket/folder."""
        _, host, inner = _parts(self.text)
        return f"{host.partition('@')[0]}/{inner.strip('/')}".rstrip("/")

    @property
    def filesystem(self) -> Any:
        """The `pyarrow.fs.FileSystem` that this is in."""
        scheme, host, _ = _parts(self.text)
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        with self._one_line():
            return connected(os.getpid(), storage_of(scheme), host, self.options, endpoint)

    def listed(self, recursive: bool = False) -> Iterator[Listed]:
        """Yield the files of a folder, in the order of their names; none where it does not exist.

        Raises:
            GlowPipelineError: there is no such bucket.
        """
        from pyarrow.fs import FileSelector, FileType

        start = len(self.path) + 1
        with self._one_line():
            selector = FileSelector(self.path, allow_not_found=True, recursive=recursive)
            found = answer_of(self.text, partial(self.filesystem.get_file_info, selector))
        if not found:
            self.check_bucket()
        files = (info for info in found if info.type == FileType.File)
        for info in sorted(files, key=lambda info: info.path):
            yield Listed(info.path[start:], info.size, info.mtime_ns or 0)

    def is_file(self) -> bool:
        """Return whether this is a file."""
        return self._kind() == "File"

    def is_folder(self) -> bool:
        """Return whether there are files below this."""
        return self._kind() == "Directory"

    def exists(self) -> bool:
        """Return whether this is a file or a folder; nothing exists in a bucket that does not."""
        return self._kind() != "NotFound"

    def size(self) -> int:
        """Return the bytes of a file; 0 where it is none."""
        return self._info(self.path).size or 0

    def check_bucket(self) -> None:
        """Check that there is such a bucket.

        Raises:
            GlowPipelineError: there is none.
        """
        bucket = self.path.partition("/")[0]
        if self._info(bucket).type.name == "NotFound":
            raise GlowPipelineError(f"{self.text}: there is no bucket {bucket}; make it, or correct the address")

    def open(self) -> Any:
        """Return the file as a `pyarrow.NativeFile` to read ranges of, by `read_at(size, offset)` or `read(size)`.

        Its reads raise OSError where the storage fails. A large file is never read as a stream,
        `open_input_stream().read()`: that becomes hundreds of requests.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._one_line():
            return self.filesystem.open_input_file(self.path)

    def start(self, size: int) -> bytes:
        """Return the first bytes of the file, or all where it has less.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._one_line(), self.open() as file:
            content: bytes = file.read(size)
        return content

    def blocks(self) -> Iterator[bytes]:
        """Yield the content of the file, a block at a time.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._one_line(), self.open() as file:
            while block := file.read(BLOCK):
                yield block

    def download(self, target: Path) -> None:
        """Copy the file to a local path, whose folder is made.

        Raises:
            FileNotFoundError: it is not there; then nothing is made here either.
        """
        blocks = self.blocks()
        first = next(blocks, b"")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.write(first)
            file.writelines(blocks)

    def upload(self, written: Path) -> None:
        """Make this the content of a complete local file. Readers see the file when the last byte has arrived."""
        with self._one_line(), written.open("rb") as source:
            target = self.filesystem.open_output_stream(self.path)
            try:
                shutil.copyfileobj(source, target, BLOCK)
            except BaseException:
                # There is no call to give an upload up: what is there so far would appear when the object is freed.
                target.close()
                self.filesystem.delete_file(self.path)
                raise
            target.close()

    def delete(self) -> None:
        """Remove a folder with all that is in it, if it exists."""
        with self._one_line(), suppress(FileNotFoundError):
            self.filesystem.delete_dir(self.path)

    def check_removable(self) -> None:
        """Check that the user may write and remove files here, by those of a file without content."""
        with self._one_line():
            probe = f"{self.path}/.removal-check"
            self.filesystem.open_output_stream(probe).close()
            self.filesystem.delete_file(probe)

    def delete_file(self) -> None:
        """Remove a file, if it exists."""
        with self._one_line(), suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path)

    def _kind(self) -> str:
        return str(self._info(self.path).type.name)

    def _info(self, path: str) -> Any:
        with self._one_line():
            return answer_of(self.text, partial(self.filesystem.get_file_info, path), GIVEN_UP_AFTER)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, GlowPipelineError):
            raise
        except FAILURES as error:
            raise GlowPipelineError(
                f"{self.text}: the storage refuses or does not answer ({first_line(error)}); correct the address, the "
                f"credentials or the endpoint (docs/storage.md), and type the same command again"
            ) from error


def _parts(address: str) -> tuple[str, str, str]:
    """Return the scheme, the bucket and the path in it."""
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise GlowPipelineError(f"{address}: not an address of object storage; write {FORMS}, without ? and #")
    return found[1], found[2], found[3]

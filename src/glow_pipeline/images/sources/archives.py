"""Readers of image files in folders, and in tar and zip archives that are read in place.

Nothing is unpacked: a partly unpacked archive cannot be taken for a complete one, a member's name cannot lead out
of the folder, and a million small files need not be made.
"""

import os
import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Generic, NamedTuple, TypeVar

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.decoding import MAX_BYTES, UnreadableImageError
from glow_pipeline.images.sources.names import Names, printable

# Exceptions that zipfile raised on damaged archives; tests/images/sources/test_archives.py damages some.
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError)


class FilesOnDisk:
    """A `source.Reader` of the files of a folder."""

    def __init__(self, folder: Path, names: Names) -> None:
        self._folder = str(folder)
        self._names = names

    def __call__(self, index: int) -> bytes:
        try:
            with open(self.path(index), "rb") as file:  # noqa: PTH123
                return _read_bounded(file, os.fstat(file.fileno()).st_size)
        except OSError as problem:
            raise UnreadableImageError(problem.strerror or str(problem)) from None

    def path(self, index: int) -> str:
        """Return the path of the image's file."""
        return os.path.join(self._folder, self._names[index])  # noqa: PTH118  # many, and pathlib is slow

    def name(self, index: int) -> str:
        return printable(self._names[index])


Opened = TypeVar("Opened")


class _PerProcess(Generic[Opened]):
    """Open files of one process: forked processes that share an open file would move each other's position."""

    def __init__(self, open_file: Callable[[Path], Opened]) -> None:
        self._open_file = open_file
        self._opened: dict[Path, Opened] = {}
        self._pid = os.getpid()

    def __getitem__(self, path: Path) -> Opened:
        if self._pid != os.getpid():
            self._opened, self._pid = {}, os.getpid()
        if path not in self._opened:
            self._opened[path] = self._open_file(path)
        return self._opened[path]

    def __getstate__(self) -> dict[str, object]:
        return {"_open_file": self._open_file, "_opened": {}, "_pid": -1}


class TarMember(NamedTuple):
    """A regular file in a tar archive."""

    name: str
    offset: int  # of its content, in bytes from the archive's start
    size: int


def tar_members(path: Path) -> Iterator[TarMember]:
    """Yield the regular files of an uncompressed tar archive, and of the tar archives in it, in their order.

    Names come without a leading `./`; those of members of an inner archive follow that archive's name:
    `n01440764.tar/n01440764_18.JPEG`.

    Raises:
        GlowPipelineError: not a complete tar archive.
    """
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in _regular(archive, file):
                name = member.name.removeprefix("./")
                if not name.endswith(".tar"):
                    yield TarMember(name, member.offset_data, member.size)
                    continue
                inner = archive.extractfile(member)
                if inner is None:
                    continue
                with tarfile.open(fileobj=inner, mode="r:") as opened:
                    for image in _regular(opened, inner):
                        inside = f"{name}/{image.name.removeprefix('./')}"
                        yield TarMember(inside, member.offset_data + image.offset_data, image.size)
    except (tarfile.TarError, EOFError) as damaged:
        raise GlowPipelineError(
            f"{path}: not a complete tar archive ({damaged}); delete it and fetch it again"
        ) from None


def read_text(archive: Path, member: TarMember) -> str:
    """Return the text of a file in an uncompressed tar archive; raise UnicodeDecodeError where it is not UTF-8."""
    with archive.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size).decode()


def _regular(archive: tarfile.TarFile, file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all, at more than a kilobyte each
        if member.isreg() and not member.issparse():
            yield member
    # tarfile takes a damaged header for the end, too. At the true end there are zeros, or nothing.
    file.seek(archive.offset)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"damaged at byte {archive.offset:,}")


def _binary(path: Path) -> IO[bytes]:
    return path.open("rb")


class TarImages:
    """A `source.Reader` of members of uncompressed tar archives, which are read in place."""

    def __init__(self) -> None:
        self._archives: list[Path] = []
        self._which, self._offsets, self._sizes = array("h"), array("q"), array("q")
        self._names = Names()
        self._files = _PerProcess(_binary)

    def append(self, archive: Path, member: TarMember) -> None:
        if archive not in self._archives:
            self._archives.append(archive)
        self._which.append(self._archives.index(archive))
        self._offsets.append(member.offset)
        self._sizes.append(member.size)
        self._names.append(member.name)

    def __len__(self) -> int:
        return len(self._names)

    def __call__(self, index: int) -> bytes:
        file = self._files[self._archives[self._which[index]]]
        file.seek(self._offsets[index])
        return _read_bounded(file, self._sizes[index])

    def name(self, index: int) -> str:
        return printable(self._names[index])


class ZipImages:
    """A `source.Reader` of members of a zip archive, which are read in place."""

    def __init__(self, archive: Path, names: Names) -> None:
        self._archive = archive
        self._names = names
        self._files = _PerProcess(zipfile.ZipFile)

    def __call__(self, index: int) -> bytes:
        name = self._names[index]
        try:
            opened = self._files[self._archive]
            with opened.open(name) as member:
                return _read_bounded(member, opened.getinfo(name).file_size)
        except KeyError:
            raise UnreadableImageError("not in the archive") from None
        except DAMAGED_ZIP as problem:
            raise UnreadableImageError(f"damaged ({str(problem)[:200] or 'truncated'})") from None

    def name(self, index: int) -> str:
        return printable(self._names[index])


def _read_bounded(file: IO[bytes], size: int) -> bytes:
    if size > MAX_BYTES:
        raise UnreadableImageError(f"{size:,} bytes; allowed are {MAX_BYTES:,}")
    content = file.read(size)
    if len(content) < size:
        raise UnreadableImageError(f"truncated: {len(content):,} of {size:,} bytes")
    return content

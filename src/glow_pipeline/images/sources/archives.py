"""Image files where they lie: in folders, or in tar and zip archives that are read in place.

Nothing is unpacked: a half-unpacked archive cannot be mistaken for a whole one, a member's name cannot lead out
of the folder, and a million small files need not be made.
"""

import os
import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Generic, NamedTuple, TypeVar

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.decoding import MAX_BYTES, UnreadableImageError

# What zipfile was seen to raise on damaged archives; tests/images/sources/test_archives.py damages some.
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError)


class Names:
    """Many names in little memory: one block of bytes, where a list of str would take some 100 bytes more for each.

    Names that are no UTF-8 (they are bytes on Linux) go in and come out as Python has them, with surrogates.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._text = bytearray()
        self._ends = array("q")
        for name in names:
            self.append(name)

    def append(self, name: str) -> None:
        self._text += os.fsencode(name)
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return os.fsdecode(bytes(self._text[start : self._ends[index]]))


def printable(name: str) -> str:
    """A file name on one line and in UTF-8, whatever bytes it has."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class FilesOnDisk:
    """Reads the files of a folder; see `source.Reader`."""

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
        """Return where the image's file is."""
        return os.path.join(self._folder, self._names[index])  # noqa: PTH118  # many, and pathlib is slow

    def name(self, index: int) -> str:
        return printable(self._names[index])


Opened = TypeVar("Opened")


class _PerProcess(Generic[Opened]):
    """Files that each process opens for itself: two readers of one open file would move each other's position."""

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
    """The regular files of an uncompressed tar archive, and of the tar archives in it, in their order.

    Names come without a leading `./`; those of members of an inner archive follow that archive's name:
    `n01440764.tar/n01440764_18.JPEG`.

    Raises:
        GlowPipelineError: not a whole tar archive.
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
        raise GlowPipelineError(f"{path}: not a whole tar archive ({damaged}); delete it and fetch it again") from None


def read_text(archive: Path, member: TarMember) -> str:
    """The whole of a text file in an uncompressed tar archive; UnicodeDecodeError where it is none."""
    with archive.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size).decode()


def _regular(archive: tarfile.TarFile, file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all, at more than a kilobyte each
        if member.isreg() and not member.issparse():
            yield member
    # For tarfile a damaged header is the end, too. At the true one there are zeros, or nothing.
    file.seek(archive.offset)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"damaged at byte {archive.offset:,}")


def _binary(path: Path) -> IO[bytes]:
    return path.open("rb")


class TarImages:
    """Reads members of uncompressed tar archives in place; see `source.Reader`."""

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
    """Reads members of a zip archive in place; see `source.Reader`."""

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

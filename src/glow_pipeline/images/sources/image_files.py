"""Image files below a folder, and counts of the files that are passed over."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NoReturn

from PIL import Image

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.decoding import FORMATS
from glow_pipeline.images.sources.names import printable

# Folders of network storage, macOS and Windows beside a user's files: thumbnails, deleted files, snapshots.
SYSTEM_FOLDERS = frozenset(
    {
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "__macosx",
        "lost+found",
        "system volume information",
    }
)
SYSTEM_FILES = frozenset({"desktop.ini", "ehthumbs.db", "thumbs.db"})
# Kinds with first bytes of their own. Camera raw files begin like TIFF, and hold a thumbnail; text may begin like BMP
# and PPM, HEIC like AVIF.
KNOWN_BY_CONTENT = ("GIF", "JPEG", "JPEG2000", "PNG", "WEBP")
FIRST_BYTES = 32
LONGEST_SUFFIX = 12
COUNTED_AT_MOST = 8

Identity = tuple[int, int]


@cache
def suffixes() -> tuple[str, ...]:
    """Return the suffixes, in lower case, of files that count as images whatever they contain."""
    return tuple(sorted(suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS))


class ImageFiles:
    """Lists the images in folders, and counts all other files.

    Files count as images by their suffix, whatever they contain, or by their first bytes. Links are followed.

    Args:
        outside: folders, by identity, that are not entered.

    Attributes:
        passed_over: numbers of files and folders that are not images, by suffix or kind.
    """

    def __init__(self, outside: frozenset[Identity] = frozenset()) -> None:
        self._outside = outside
        self.passed_over: Counter[str] = Counter()

    def directly_in(self, folder: Path) -> tuple[Iterator[str], list[str]]:
        """Return the names of the images in a folder, in order, and of the folders in it.

        Raises:
            GlowPipelineError: the folder cannot be listed.
        """
        files, folders = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        self.passed_over["hidden"] += 1
                        continue
                    match _kind(entry):
                        case "file":
                            files.append(entry.name)
                        case "folder" if entry.name.lower() not in SYSTEM_FOLDERS:
                            folders.append(entry.name)
                        case "folder":
                            self.passed_over[f"{printable(entry.name)}/"] += 1
                        case "special":
                            self.passed_over["special"] += 1
        except OSError as problem:
            _refuse(problem)
        return (name for name in sorted(files) if self._is_image(folder, name)), sorted(folders)

    def below(self, folder: Path, *above: Path, top: tuple[Iterator[str], list[str]] | None = None) -> Iterator[str]:
        """Yield the names of the images in and below a folder, relative to it, in a fixed order.

        Link loops end: no folder is entered twice, nor one of those `above`.

        Args:
            top: what `directly_in` returned for the folder, so that it need not be listed again.
        """
        seen = {*self._outside, *(identity(path) for path in above)}
        waiting = [""]
        while waiting:
            prefix = waiting.pop()
            if top is None or prefix:
                files, folders = self._enter(folder / prefix, seen)
            else:
                seen.add(identity(folder))
                files, folders = top
            for name in files:
                yield prefix + name
            waiting += [f"{prefix}{name}{os.sep}" for name in reversed(folders)]

    def _enter(self, folder: Path, seen: set[Identity]) -> tuple[Iterator[str], list[str]]:
        """List a folder; nothing if it was entered before."""
        known = identity(folder)
        if known in seen:
            return iter(()), []
        seen.add(known)
        return self.directly_in(folder)

    def _is_image(self, folder: Path, name: str) -> bool:
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  # many, and pathlib is slow
        if suffix in suffixes() or _begins_as_an_image(os.path.join(folder, name)):  # noqa: PTH118
            return True
        shown = printable(suffix)
        self.passed_over[shown if 1 < len(shown) <= LONGEST_SUFFIX else "other"] += 1
        return False


class AllFiles(ImageFiles):
    """Lists all regular files in folders, whatever they contain, but not hidden ones and those of operating systems.

    A folder below the first that cannot be listed is itself listed, with a separator at its end.
    """

    def _enter(self, folder: Path, seen: set[Identity]) -> tuple[Iterator[str], list[str]]:
        is_first = not seen
        try:
            return super()._enter(folder, seen)
        except GlowPipelineError:
            if is_first:
                raise
            return iter([""]), []

    def _is_image(self, _folder: Path, name: str) -> bool:
        if name.lower() in SYSTEM_FILES:
            self.passed_over[name] += 1
            return False
        return True


def is_hidden(name: str) -> bool:
    """Return whether a file's name, with slashes, is hidden or in a folder that is, or in one of the system's."""
    *folders, _ = parts = name.split("/")
    return any(part.startswith(".") for part in parts) or any(part.lower() in SYSTEM_FOLDERS for part in folders)


def list_counts(passed_over: Mapping[str, int]) -> str:
    """Return `10 .dcm, 3 .txt, 1 @eaDir/`; empty where nothing was passed over."""
    most = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in most[COUNTED_AT_MOST:])
    return ", ".join([f"{n:,} {kind}" for kind, n in most[:COUNTED_AT_MOST]] + ([f"{rest:,} others"] if rest else []))


def identity(folder: str | Path) -> Identity:
    """Return device and inode: the same for all links to a folder.

    Raises:
        GlowPipelineError: the folder cannot be read.
    """
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError as problem:
        _refuse(problem)
    return status.st_dev, status.st_ino


def _kind(entry: os.DirEntry[str]) -> Literal["file", "folder", "special"]:
    """Return the kind of an entry behind its links; a broken link is a file; pipes, sockets and devices are special."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() or not os.path.exists(entry) else "special"  # noqa: PTH110
    except OSError:  # a link to itself
        return "file"


def _begins_as_an_image(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            first = file.read(FIRST_BYTES)
    except OSError:
        return False
    suffixes()  # has Pillow register its kinds
    accepts = [Image.OPEN[kind][1] for kind in KNOWN_BY_CONTENT if kind in FORMATS and kind in Image.OPEN]
    return any(accept is not None and accept(first) is True for accept in accepts)


def _refuse(problem: OSError) -> NoReturn:
    """Refuse an unreadable folder; leaving it out silently would renumber the classes after it."""
    raise GlowPipelineError(
        f"{printable(str(problem.filename))}: {problem.strerror}; make it readable, or move it elsewhere"
    ) from None

"""The files that a person wants to have judged: those of a folder, one file, or those that a pattern matches."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import typed_path
from glow_pipeline.images.classes import sanitise
from glow_pipeline.images.sources.archives import FilesOnDisk
from glow_pipeline.images.sources.image_files import AllFiles, list_counts
from glow_pipeline.images.sources.names import Names

ANY_FOLDERS = "**"


@dataclass(frozen=True)
class ListedFiles:
    """Files to judge, in a fixed order.

    Attributes:
        folder: absolute.
        names: names of the files, relative to the folder. A folder that cannot be listed is among them.
        passed_over: files and folders that are hidden or of an operating system, pipes and devices, by kind -> number.
    """

    folder: Path
    names: Names
    passed_over: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def left_out(self) -> str:
        """Counts of what was passed over: `3 hidden, 1 @eaDir/`; empty where nothing was."""
        return list_counts(self.passed_over)

    @property
    def reader(self) -> FilesOnDisk:
        """The reader of the files' contents."""
        return FilesOnDisk(self.folder, self.names)


def list_files(typed: str) -> ListedFiles:
    """List the files that `score.images` names.

    A folder stands for all regular files in and below it. What exists is no pattern, so that names may have brackets.
    In a pattern `*`, `?` and `[...]` match within a name, and `**` any number of folders. Links are followed, and
    loops of links end.

    Raises:
        GlowPipelineError: there is no such file or folder, or no file in it, or none that the pattern matches.
    """
    files = AllFiles()
    folder, found = _found(typed, files)
    names = Names(found)
    if not len(names):
        raise GlowPipelineError(_no_file(typed, files))
    return ListedFiles(folder, names, files.passed_over)


def check_listed(typed: str | None) -> None:
    """Check, without listing all, that `score.images` names a file.

    Raises:
        GlowPipelineError: as `list_files`, or it is not set.
    """
    if typed is None:
        raise GlowPipelineError("score.images=null: no images to judge; set it to a folder, a file or a pattern")
    files = AllFiles()
    if next(_found(typed, files)[1], None) is None:
        raise GlowPipelineError(_no_file(typed, files))


def list_name(typed: str | None) -> str:
    """Return the name of the files that `score.images` names, as a part of a path: of a folder or a file its own.

    It depends on the text alone, so that it stays when the folder moves.
    """
    if typed is None:
        return "none"
    parts = typed_path(typed).parts
    first = next((i for i, part in enumerate(parts) if has_magic(part)), len(parts))
    name = parts[-1] if first == len(parts) else " ".join(parts[max(0, first - 1) :])
    return sanitise(name)


def _found(typed: str, files: AllFiles) -> tuple[Path, Iterator[str]]:
    """Return a folder, and the names of the files relative to it."""
    existing, pattern = _existing_part(typed)
    if pattern:
        return existing, _matching(files, existing, pattern)
    if existing.is_dir():
        return existing, files.below(existing)
    if existing.is_file():
        return existing.parent, iter([existing.name])
    raise GlowPipelineError(f"score.images={typed}: neither a file nor a folder; give one of them, or a pattern")


def _no_file(typed: str, files: AllFiles) -> str:
    counted = list_counts(files.passed_over)
    passed_over = f" (passed over: {counted})" if counted else ""
    return f"score.images={typed}: no file{passed_over}; give a folder with images, a file or a pattern"


def _existing_part(typed: str) -> tuple[Path, tuple[str, ...]]:
    """Return the longest beginning of the path that exists, and the parts of a pattern after it.

    Raises:
        GlowPipelineError: what follows is no pattern.
    """
    path = typed_path(typed)
    existing, rest = Path(path.anchor), path.parts[1:]
    while rest and os.path.lexists(existing / rest[0]):
        existing, rest = existing / rest[0], rest[1:]
    if rest and not any(map(has_magic, rest)):
        raise GlowPipelineError(f"score.images={typed}: no such file or folder; give a folder, a file or a pattern")
    return existing, rest


def _matching(files: AllFiles, folder: Path, pattern: Sequence[str], prefix: str = "") -> Iterator[str]:
    """Yield the names, relative to the first folder, of the files below it that a pattern matches.

    A folder below the first that cannot be listed is among them, as in `AllFiles`: files in it might match.
    """
    part, rest = pattern[0], pattern[1:]
    if part == ANY_FOLDERS:
        found = files.below(folder)
        yield from (prefix + name for name in found if name.endswith(os.sep) or _matches(Path(name).parts, pattern))
        return
    names, folders = files.directly_in(folder)
    if not rest:
        yield from (prefix + name for name in names if fnmatchcase(name, part))
    for name in folders:
        if rest and fnmatchcase(name, part):
            within = f"{prefix}{name}{os.sep}"
            try:
                yield from _matching(files, folder / name, rest, within)
            except GlowPipelineError:  # the folder itself: those below it are caught there
                yield within


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether a path, by its names, matches a pattern, by its parts."""
    if not pattern or not names:
        return not pattern and not names
    if pattern[0] != ANY_FOLDERS:
        return fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])
    return len(pattern) == 1 or any(_matches(names[i:], pattern[1:]) for i in range(len(names)))

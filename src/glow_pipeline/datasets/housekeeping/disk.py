"""Sizes. A file with several names, as image tables have, counts once."""

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Content(NamedTuple):
    """A file on a disk, or a folder in a bucket.

    Attributes:
        key: the same for all names of one file.
        size: bytes.
        names: how many there are, here and elsewhere.
    """

    key: Hashable
    size: int
    names: int = 1


def bytes_of(contents: Iterable[Content]) -> int:
    """Return the bytes of all these, each once whatever names it has."""
    return sum({each.key: each.size for each in contents}.values())


def freed_by(contents: Iterable[Content]) -> int:
    """Return the bytes that removing these frees: those of what has no other name elsewhere."""
    found = list(contents)
    names = Counter(each.key for each in found)
    return sum({each.key: each.size for each in found if names[each.key] >= each.names}.values())


def on_disk(folders: Iterable[Path]) -> Iterator[Content]:
    """Yield the files in these folders."""
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                try:
                    stat = os.lstat(os.path.join(parent, name))  # noqa: PTH118  # a tenth of the time of Path
                except FileNotFoundError:  # a temporary file of a running command
                    continue
                yield Content((stat.st_dev, stat.st_ino), stat.st_size, stat.st_nlink)


def in_words(size: int) -> str:
    """Return a size for a person: `1.4 MB`."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"

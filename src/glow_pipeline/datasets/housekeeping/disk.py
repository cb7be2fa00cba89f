"""Sizes on disk. A file with several names, as image tables have, counts once."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path


def bytes_of(folders: Iterable[Path]) -> int:
    """Return the bytes of all files in these folders, each file once whatever names it has."""
    return sum({(stat.st_dev, stat.st_ino): stat.st_size for stat in _stats(folders)}.values())


def freed_by(folders: Iterable[Path]) -> int:
    """Return the bytes that removing these folders frees: those of files that have no other name elsewhere."""
    names: Counter[tuple[int, int]] = Counter()
    files: dict[tuple[int, int], os.stat_result] = {}
    for stat in _stats(folders):
        key = (stat.st_dev, stat.st_ino)
        names[key] += 1
        files[key] = stat
    return sum(stat.st_size for key, stat in files.items() if names[key] >= stat.st_nlink)


def in_words(size: int) -> str:
    """Return a size for a person: `1.4 MB`."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _stats(folders: Iterable[Path]) -> Iterator[os.stat_result]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                try:
                    yield os.lstat(os.path.join(parent, name))  # noqa: PTH118  # a tenth of the time of Path
                except FileNotFoundError:  # a temporary file of a running command
                    continue

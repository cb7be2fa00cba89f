"""Find what commands have stored in buckets, by the catalog's addresses and one listing of each."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from glow_pipeline.bucket_connection import connection_options
from glow_pipeline.buckets import Address, is_address
from glow_pipeline.datasets.housekeeping.disk import Content
from glow_pipeline.datasets.housekeeping.stored import (
    ANY,
    HIDDEN,
    InBucket,
    Kind,
    Stored,
    holds_tables,
    is_versioned,
    patterns_of,
    places_of,
)
from glow_pipeline.datasets.written_folder import COMPLETE
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import VERSION
from glow_pipeline.images.bucket_tables import BY_ORIGIN, MADE_WITH, VERSION_FILE, read_folder_name
from glow_pipeline.images.table_files import UNFINISHED
from glow_pipeline.remote_storage import has_scheme

PROGRESS = "ood_progress"  # the one entry that is no version
STREAMS = 16  # files that are read at once


def entries_elsewhere(catalog: Mapping[str, Any]) -> list[str]:
    """Return the versioned entries of a catalog that are neither on a local disk nor in a bucket."""
    remote = {name: entry for name, entry in catalog.items() if is_versioned(entry) and has_scheme(entry["filepath"])}
    return sorted(name for name, entry in remote.items() if _options(entry) is None)


def find_in_buckets(catalog: Mapping[str, Any]) -> list[Stored]:
    """Return all that is stored in buckets.

    Args:
        catalog: name -> entry, with `*` in place of the names that a command fills in, and with its credentials.

    Raises:
        GlowPipelineError: a bucket is missing, refuses or does not answer.
    """
    listings: dict[Address, _Listing] = {}
    found: dict[str, Stored] = {}
    for name, entry, pattern in places_of(catalog):
        if (options := _options(entry)) is None:
            continue
        root = Address(pattern.partition(ANY)[0].rpartition("/")[0], options)
        listing = listings.get(root) or listings.setdefault(root, _Listing(root, _folders(root)))
        for each in patterns_of(pattern.removeprefix(f"{root}/")):
            for stored in listing.stored(name, each):
                found.setdefault(str(stored.path), stored)
        if holds_tables(entry):
            for stored in listing.abandoned_tables(name):
                found.setdefault(str(stored.path), stored)
    return list(found.values())


def _options(entry: Mapping[str, Any]) -> tuple[tuple[str, Any], ...] | None:
    """Return how to connect to the bucket of an entry; None: it is in none, or only fsspec's package knows how."""
    address = str(entry["filepath"])
    if not is_address(address):
        return None
    try:
        return connection_options(address, entry.get("credentials"), entry.get("fs_args"))
    except GlowPipelineError:
        return None


@dataclass
class _Folder:
    """A folder: the names in it, and the bytes of its files and the time of the newest."""

    names: list[str] = field(default_factory=list)
    size: int = 0
    changed: float = 0.0

    def add(self, names: Sequence[str], size: int, changed: float) -> None:
        self.names += names
        self.size += size
        self.changed = max(self.changed, changed)


def _folders(root: Address) -> dict[str, _Folder]:
    """Return the folders below an address that have files, by their paths in it."""
    root.check_bucket()  # which says soon that it does not answer
    found: dict[str, _Folder] = {}
    for file in root.listed(recursive=True):
        path, _, name = file.name.rpartition("/")
        found.setdefault(path, _Folder()).add([name], file.size, file.mtime_ns / 1e9)
    return found


class _Listing:
    """A listing of all that is below an address.

    Args:
        root: the address.
        folders: the folders that have files, by their paths in it.
    """

    def __init__(self, root: Address, folders: Mapping[str, _Folder]) -> None:
        self._root, self._folders = root, folders
        self._tables = [path for path in folders if re.fullmatch(rf".+/{BY_ORIGIN}/[^/]+", path)]
        formats = {_format_of(path) for path in self._tables}
        versions = [path for path, folder in folders.items() if VERSION_FILE in folder.names]
        versions = [path for path in versions if path.rsplit("/", 3)[0] in formats]
        with ThreadPoolExecutor(STREAMS) as pool:
            names = list(pool.map(read_folder_name, [root / path / VERSION_FILE for path in versions]))
        # The folder of each version -> that of its table's files.
        self._shared = {
            path.rpartition("/")[0]: f"{path.rsplit('/', 3)[0]}/{BY_ORIGIN}/{name}"
            for path, name in zip(versions, names, strict=True)
        }
        self._users = Counter(self._shared.values())

    def stored(self, name: str, pattern: str) -> Iterator[Stored]:
        """Yield the versions of an entry, or its progress."""
        for path, folder in self._below(pattern).items():
            stem = path.split("/")[-2].partition(".")[0]
            if name == PROGRESS:
                yield self._version(name, "progress", path, folder)
            elif VERSION.fullmatch(path.rpartition("/")[2]) or any(inner.startswith(stem) for inner in folder.names):
                yield self._version(name, "version", path, folder)

    def abandoned_tables(self, name: str) -> Iterator[Stored]:
        """Yield the folders of tables' files that no version names: of tables that are being made, or never will be."""
        for path in set(self._tables) - self._users.keys():
            beside = [each for each in self._tables if _format_of(each) == _format_of(path)]
            changed = max(self._folders[each].changed for each in beside)
            address = self._root / path
            facts = InBucket((self._contents_of_table(path),), changed, shared=address)
            label = f"{'' if address.name.startswith(MADE_WITH) else UNFINISHED.strip(HIDDEN)}{address.name}"
            yield Stored(name, "parts", path.partition("/")[0], label, address, facts)

    def _version(self, entry: str, kind: Kind, path: str, folder: _Folder) -> Stored:
        address, contents = self._root / path, [Content(str(self._root / path), folder.size)]
        known_by, shared = address / address.parent.name, None
        if f"{path}/{known_by.name}" in self._folders:  # a folder
            known_by /= COMPLETE
        if (table := self._shared.get(path)) is not None:
            known_by, shared = known_by.parent / VERSION_FILE, self._root / table
            contents.append(self._contents_of_table(table))
        facts = InBucket(tuple(contents), folder.changed, known_by, shared)
        return Stored(entry, kind, path.partition("/")[0], address.name, address, facts)

    def _contents_of_table(self, path: str) -> Content:
        return Content(str(self._root / path), self._folders.get(path, _Folder()).size, self._users[path])

    def _below(self, pattern: str) -> dict[str, _Folder]:
        """Return the folders right below those that match a pattern, each with the names, bytes and time of its own."""
        matching = re.compile(rf"({'[^/]*'.join(map(re.escape, pattern.split(ANY)))}/[^/]+)(?:/([^/]+).*)?")
        found: dict[str, _Folder] = {}
        for path, folder in self._folders.items():
            if (match := matching.fullmatch(path)) is not None:
                names = folder.names if match[2] is None else [match[2]]
                found.setdefault(match[1], _Folder()).add(names, folder.size, folder.changed)
        return found


def _format_of(path: str) -> str:
    """Return the folder of all tables of some images in one format: that above `by-origin`."""
    return path.rsplit("/", 2)[0]

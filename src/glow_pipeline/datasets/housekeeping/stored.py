"""Everything that commands have stored, found by the catalog's paths."""

import glob
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from glow_pipeline.buckets import Address
from glow_pipeline.datasets.housekeeping.disk import Content, on_disk
from glow_pipeline.files import VERSION, VERSION_TIME
from glow_pipeline.images.table_files import AGREED, SCRATCH, UNFINISHED
from glow_pipeline.remote_storage import has_scheme
from glow_pipeline.training.checkpoint_folder import TrainingFolder

Kind = Literal["version", "training", "scores", "progress", "parts"]
Where = Path | Address
ANY = "*"
IN_OTHERS = ("ModelCardDataset", "ImageTablesDataset")  # which store where another entry does
HIDDEN = "."
DAY = 86400  # seconds
REMOVED = f"{HIDDEN}removed"


@dataclass(frozen=True)
class InBucket:
    """Facts of a folder in a bucket, from its listing.

    Attributes:
        contents: the folder, and the one that it shares with others.
        changed: time of the newest upload, in seconds.
        known_by: the file that a version is known by; None: of the files of a table, which are no version.
        shared: folder of a table's files, which several versions may name; None: of something else.
    """

    contents: tuple[Content, ...]
    changed: float
    known_by: Address | None = None
    shared: Address | None = None


@dataclass(frozen=True)
class Stored:
    """A folder that a command has stored and that can be removed by itself.

    Attributes:
        entry: entry of the catalog.
        kind: a version of an entry; the checkpoints of a training; scores of sets that a benchmark finds again; scores
            of files with which an interrupted command continues; parts of an image table that is not complete.
        images: name of the images that it is about.
        version: the label of the command that made it, or of the model that it is about.
        path: the folder, or its address.
        in_bucket: None: it is on a disk.
    """

    entry: str
    kind: Kind
    images: str
    version: str
    path: Where
    in_bucket: InBucket | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The entry with its images, as in messages."""
        return f"{self.entry} of {self.images} {self.version}"

    @property
    def file(self) -> Where:
        """The file of a version."""
        return self.path / self.path.parent.name

    def contents(self) -> Iterable[Content]:
        """Return what is in the folder, for its size."""
        if isinstance(self.path, Path):
            return on_disk([self.path])
        return () if self.in_bucket is None else self.in_bucket.contents

    def age(self, now: datetime) -> float:
        """Return the age in days, by the version's label where that is a time, else by the folder's last change."""
        if VERSION.fullmatch(self.version):
            with suppress(ValueError):  # digits that are no date
                made = datetime.strptime(self.version, VERSION_TIME).replace(tzinfo=UTC)
                return (now - made).total_seconds() / DAY
        return (now.timestamp() - self.changed()) / DAY

    def changed(self) -> float:
        """Return the time of the last change, in seconds; of parts of a table that of all that is made beside it."""
        if self.in_bucket is not None:
            return self.in_bucket.changed
        assert isinstance(self.path, Path)
        beside = [self.path]
        if self.kind == "parts":
            beside = [path for start in (UNFINISHED, AGREED, SCRATCH) for path in self.path.parent.glob(f"{start}*")]
        return max((time for path in beside for time in _times(path)), default=0.0)


def in_time(seconds: float) -> str:
    """Return an age for a person: `3 d`."""
    hours = seconds / 3600
    return f"{hours / 24:.0f} d" if hours >= 24 else f"{hours:.0f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def is_versioned(entry: Any) -> bool:
    """Return whether an entry of a catalog is versioned, and has a path or an address."""
    return isinstance(entry, Mapping) and bool(entry.get("versioned")) and "filepath" in entry


def find_stored(catalog: Mapping[str, Any], project: Path) -> list[Stored]:
    """Return all that is stored on disks.

    An entry whose path follows from no parameter is not among them: a person keeps something of their own there.

    Args:
        catalog: name -> entry, with `*` in place of the names that a command fills in.
        project: folder that the entries' paths are relative to.
    """
    found: dict[Where, Stored] = {}
    for name, pattern in _local_places(catalog):
        for each in _WORKING.get(name, _versions)(name, pattern, project):
            found.setdefault(each.path, each)
    return list(found.values())


def find_leftovers(catalog: Mapping[str, Any], project: Path) -> list[Path]:
    """Return the folders under hidden names that interrupted removals have left."""
    found: set[Path] = set()
    for name, place in _local_places(catalog):
        for pattern in patterns_of(place):
            below = f"{pattern}/{ANY}" if _WORKING.get(name) is _trainings else pattern
            for folder in _folders(below, project):
                found.update(folder.glob(f"{REMOVED}.*"))
    return sorted(found)


def places_of(catalog: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yield the entries in which a removable folder can be: name, entry, and the pattern of its path or address."""
    for name, entry in catalog.items():
        pattern = str(entry.get("filepath", "")) if isinstance(entry, Mapping) else ""
        if not pattern or _type_of(entry) in IN_OTHERS:
            continue
        if is_versioned(entry) and ANY in pattern:
            parent, _, last = pattern.rpartition("/")
            yield name, entry, f"{parent}/{ANY}/{last}" if holds_tables(entry) else pattern
        elif name in _WORKING:
            yield name, entry, pattern


def holds_tables(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry is of image tables, whose path has the images' format too."""
    return _type_of(entry) == "ImageTableDataset"


def _type_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("type", "")).rpartition(".")[2]


def patterns_of(pattern: str) -> list[str]:
    """Return a pattern, and that of mutated models, which are one folder deeper."""
    first, star, rest = pattern.partition(ANY)
    return [pattern, f"{first}{ANY}/{star}{rest}"] if star else [pattern]


def _local_places(catalog: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((name, pattern) for name, _, pattern in places_of(catalog) if not has_scheme(pattern))


def _folders(pattern: str, project: Path) -> Iterator[Path]:
    """Yield the folders that match a pattern; hidden ones are being written or removed.

    The catalog may lead through links, as where `data` is one to a larger disk. What a link in place of a name leads
    to, such as a dataset's models in another project, is not this project's to remove.
    """
    anchor = Path(pattern).anchor
    root, relative = (Path(anchor), pattern[len(anchor) :]) if anchor else (project, pattern)
    fixed = root / relative.partition(ANY)[0].rpartition("/")[0]
    for path in root.glob(ANY.join(map(glob.escape, relative.split(ANY)))):
        hidden = any(part.startswith(HIDDEN) for part in path.relative_to(fixed).parts)
        linked = any(parent.is_symlink() for parent in path.parents if parent != fixed and fixed in parent.parents)
        if path.is_dir() and not hidden and not linked:
            yield path


def _images(path: Path, pattern: str, project: Path) -> str:
    """Return the first name in the path that the pattern leaves open."""
    root = project / pattern.partition(ANY)[0].rpartition("/")[0]
    return path.relative_to(root).parts[0]


def _versions(name: str, pattern: str, project: Path) -> Iterator[Stored]:
    for each in patterns_of(pattern):
        for path in _folders(f"{each}/{ANY}", project):
            if any(path.glob(f"{path.parent.name.partition('.')[0]}*")):
                yield Stored(name, "version", _images(path, each, project), path.name, path)
        for tables in _folders(each, project):
            for path in (*tables.glob(f"{UNFINISHED}*"), *tables.glob(f"{AGREED}*")):
                yield Stored(name, "parts", _images(path, each, project), path.name.removeprefix(HIDDEN), path)


def _trainings(name: str, pattern: str, project: Path) -> Iterator[Stored]:
    for each in patterns_of(pattern):
        for path in _folders(f"{each}/{ANY}/{ANY}", project):
            if TrainingFolder(path).checkpoints or (path / "lock").exists():
                yield Stored(name, "training", _images(path, each, project), path.name, path)


def _scores(name: str, pattern: str, project: Path) -> Iterator[Stored]:
    for path in _folders(f"{pattern}/{ANY}", project):
        version = path.name.rpartition("_")[0] or path.name  # the claim of a command that continues has no version
        yield Stored(name, "scores", _images(path, pattern, project), version, path)


def _progress(name: str, pattern: str, project: Path) -> Iterator[Stored]:
    for each in patterns_of(pattern):
        for path in _folders(f"{each}/{ANY}", project):
            yield Stored(name, "progress", _images(path, each, project), path.name, path)


def _times(path: Path) -> Iterator[float]:
    """Yield when a folder and the files in it were changed; what is gone meanwhile is passed over."""
    with suppress(FileNotFoundError):
        yield path.stat().st_mtime
        for each in path.iterdir():
            with suppress(FileNotFoundError):
                yield each.stat().st_mtime


_WORKING = {
    "checkpoints": _trainings,
    "benchmark_scores": _scores,
    "score_progress": _progress,
    "ood_progress": _progress,
}

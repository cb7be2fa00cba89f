"""Everything that commands have stored, found by the catalog's paths."""

import glob
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from glow_pipeline.files import VERSION, VERSION_TIME
from glow_pipeline.images.table_files import AGREED, UNFINISHED
from glow_pipeline.remote_storage import has_scheme
from glow_pipeline.training.checkpoint_folder import TrainingFolder

Kind = Literal["version", "training", "scores", "progress", "parts"]
ANY = "*"
IN_OTHERS = ("ModelCardDataset", "ImageTablesDataset")  # which store where another entry does
HIDDEN = "."
REMOVED = f"{HIDDEN}removed"


@dataclass(frozen=True)
class Stored:
    """A folder that a command has stored and that can be removed by itself.

    Attributes:
        entry: entry of the catalog.
        kind: a version of an entry; the checkpoints of a training; scores of sets that a benchmark finds again; scores
            of files with which an interrupted command continues; parts of an image table that is not complete.
        images: name of the images that it is about.
        version: the label of the command that made it, or of the model that it is about.
        path: the folder.
    """

    entry: str
    kind: Kind
    images: str
    version: str
    path: Path

    @property
    def name(self) -> str:
        """The entry with its images, as in messages."""
        return f"{self.entry} of {self.images} {self.version}"


def entries_elsewhere(catalog: Mapping[str, Any]) -> list[str]:
    """Return the versioned entries of a catalog that are not on a local disk."""
    return sorted(
        name for name, entry in catalog.items() if _is_versioned(entry) and has_scheme(str(entry["filepath"]))
    )


def find_stored(catalog: Mapping[str, Any], project: Path) -> list[Stored]:
    """Return all that is stored, in the order of versions.

    An entry whose path follows from no parameter is not among them: a person keeps something of their own there.

    Args:
        catalog: name -> entry, with `*` in place of the names that a command fills in.
        project: folder that the entries' paths are relative to.
    """
    found: dict[Path, Stored] = {}
    for name, pattern in _places(catalog):
        for each in _WORKING.get(name, _versions)(name, pattern, project):
            found.setdefault(each.path, each)
    return sorted(found.values(), key=lambda stored: (stored.version, stored.images, stored.entry))


def find_leftovers(catalog: Mapping[str, Any], project: Path) -> list[Path]:
    """Return the folders under hidden names that interrupted removals have left."""
    found: set[Path] = set()
    for name, place in _places(catalog):
        for pattern in _patterns(place):
            below = f"{pattern}/{ANY}" if _WORKING.get(name) is _trainings else pattern
            for folder in _folders(below, project):
                found.update(folder.glob(f"{REMOVED}.*"))
    return sorted(found)


def age_of(version: str, path: Path, now: datetime) -> float:
    """Return the age in days, by the version's label where that is a time, else by the folder's last change."""
    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    if VERSION.fullmatch(version):
        with suppress(ValueError):  # digits that are no date
            made = datetime.strptime(version, VERSION_TIME).replace(tzinfo=UTC)
    return (now - made).total_seconds() / 86400


def _is_versioned(entry: Any) -> bool:
    return isinstance(entry, Mapping) and bool(entry.get("versioned")) and "filepath" in entry


def _places(catalog: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the entries in which a removable folder can be, each with the pattern of its path."""
    for name, entry in catalog.items():
        pattern = str(entry.get("filepath", "")) if isinstance(entry, Mapping) else ""
        kind = str(entry.get("type", "")).rpartition(".")[2] if isinstance(entry, Mapping) else ""
        if not pattern or has_scheme(pattern) or kind in IN_OTHERS:
            continue
        if _is_versioned(entry) and ANY in pattern:
            yield name, _with_format(pattern) if kind == "ImageTableDataset" else pattern
        elif name in _WORKING:
            yield name, pattern


def _with_format(pattern: str) -> str:
    parent, _, name = pattern.rpartition("/")
    return f"{parent}/{ANY}/{name}"


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


def _patterns(pattern: str) -> list[str]:
    """Return a pattern, and that of mutated models, which are one folder deeper."""
    first, star, rest = pattern.partition(ANY)
    return [pattern, f"{first}{ANY}/{star}{rest}"] if star else [pattern]


def _versions(name: str, pattern: str, project: Path) -> Iterator[Stored]:
    for each in _patterns(pattern):
        for path in _folders(f"{each}/{ANY}", project):
            if any(path.glob(f"{path.parent.name.partition('.')[0]}*")):
                yield Stored(name, "version", _images(path, each, project), path.name, path)
        for tables in _folders(each, project):
            for path in (*tables.glob(f"{UNFINISHED}*"), *tables.glob(f"{AGREED}*")):
                yield Stored(name, "parts", _images(path, each, project), path.name.removeprefix(HIDDEN), path)


def _trainings(name: str, pattern: str, project: Path) -> Iterator[Stored]:
    for each in _patterns(pattern):
        for path in _folders(f"{each}/{ANY}/{ANY}", project):
            if TrainingFolder(path).checkpoints or (path / "lock").exists():
                yield Stored(name, "training", _images(path, each, project), path.name, path)


def _scores(name: str, pattern: str, project: Path) -> Iterator[Stored]:
    for path in _folders(f"{pattern}/{ANY}", project):
        yield Stored(name, "scores", _images(path, pattern, project), path.name.rpartition("_")[0], path)


def _progress(name: str, pattern: str, project: Path) -> Iterator[Stored]:
    for each in _patterns(pattern):
        for path in _folders(f"{each}/{ANY}", project):
            yield Stored(name, "progress", _images(path, each, project), path.name, path)


_WORKING = {
    "checkpoints": _trainings,
    "benchmark_scores": _scores,
    "score_progress": _progress,
    "ood_progress": _progress,
}

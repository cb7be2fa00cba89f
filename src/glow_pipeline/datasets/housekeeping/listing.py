"""The list of stored versions as text: a line for each command's versions, or for each entry."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

from glow_pipeline.counting import counted
from glow_pipeline.datasets.housekeeping.disk import Content, bytes_of, freed_by, in_words, on_disk
from glow_pipeline.datasets.housekeeping.needs import Need, unmet
from glow_pipeline.datasets.housekeeping.stored import DAY, Stored, in_time
from glow_pipeline.tracking.stored_runs import StoredRun

COLUMNS = ("version", "images", "what", "size", "frees", "age", "MLflow run", "needed by")
NAMED = 3


@dataclass(frozen=True)
class Inventory:
    """All that is stored, with its MLflow runs and what needs what.

    Attributes:
        runs: version -> MLflow run; None: MLflow does not answer.
        now: the present moment, for ages.
        complete: whether nothing is stored where this does not look, such as an sftp server.
        shared_runs: whether others too may record their runs where MLflow does, as on a server.
    """

    stored: Sequence[Stored]
    runs: Mapping[str, StoredRun] | None
    needs: Sequence[Need]
    now: datetime
    complete: bool = True
    shared_runs: bool = False

    def run(self, version: str) -> StoredRun | None:
        """Return the MLflow run of a version; None if there is none, or none is known."""
        return None if self.runs is None else self.runs.get(version)

    def lines(self, chosen: Sequence[Stored], *, by_entry: bool) -> list[str]:
        """Return a table of what is chosen, and its total."""
        groups: dict[tuple[object, ...], list[Stored]] = {}
        for each in chosen:
            key = (each.version, each.images, *((each.path,) if by_entry else ()))
            groups.setdefault(key, []).append(each)
        rows = [self._row(group) for group in groups.values()]
        total = f"{counted(len(chosen), 'stored folder')}, {in_words(bytes_of(self.contents(chosen)))}"
        far = bytes_of(content for each in chosen if each.in_bucket for content in each.contents())
        total += f" with MLflow's artifacts{f', {in_words(far)} of it in buckets' if far else ''}"
        return [*_aligned([COLUMNS, *rows]), f"{total}; a file with several names counts once."]

    def contents(self, chosen: Iterable[Stored]) -> list[Content]:
        """Return what goes if these things are removed, with the artifacts of MLflow runs, for its size."""
        removed = list(chosen)
        artifacts = on_disk(self.artifacts_of(self.emptied(removed)))
        return [*chain.from_iterable(each.contents() for each in removed), *artifacts]

    def emptied(self, removed: Iterable[Stored]) -> list[str]:
        """Return the versions of which nothing is left if these things are removed, and whose MLflow run goes too.

        A command of another clone may have stored the rest on its own disk, so on a server its run stays.
        """
        if not self.complete:
            return []
        chosen = list(removed)
        gone = {each.path for each in chosen}
        left = {each.version for each in self.stored if each.path not in gone}
        own = {each.version for each in chosen if not (self.shared_runs and each.in_bucket)}
        return sorted({version for version in own if self.run(version) is not None} - left)

    def artifacts_of(self, versions: Iterable[str]) -> list[Path]:
        """Return the local folders of the MLflow artifacts of these versions."""
        runs = [run for version in versions if (run := self.run(version)) is not None]
        return [path for run in runs for path in run.artifacts if path.is_dir()]

    def _row(self, group: Sequence[Stored]) -> tuple[str, ...]:
        first = group[0]
        paths = [each.path for each in group]
        contents = self.contents(group)
        run = self.run(first.version)
        return (
            first.version,
            first.images,
            _what(group),
            in_words(bytes_of(contents)),
            in_words(freed_by(contents)),
            in_time(first.age(self.now) * DAY),
            "" if run is None else f"{run.name} ({run.status})",
            _users(unmet(paths, self.needs), self.stored),
        )


def _what(group: Sequence[Stored]) -> str:
    names = sorted({each.entry for each in group}, key=lambda name: (not name.startswith("glow_"), name))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _users(needs: Sequence[Need], stored: Iterable[Stored]) -> str:
    """Return what needs this: versions of others, and reasons that are no stored thing."""
    versions = {each.path: each.version for each in stored}
    others = sorted({versions.get(need.user, "") for need in needs if need.user is not None} - {""})
    reasons = sorted({need.why for need in needs if need.user is None})
    named = [*reasons, *others]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + more


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]

"""`kedro versions`: what it prints and what it removes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glow_pipeline.counting import counted, plural
from glow_pipeline.datasets.housekeeping.disk import bytes_of, freed_by, in_words, on_disk
from glow_pipeline.datasets.housekeeping.in_buckets import entries_elsewhere, find_in_buckets
from glow_pipeline.datasets.housekeeping.listing import Inventory
from glow_pipeline.datasets.housekeeping.needs import TABLES, Need, find_needs, running, unmet
from glow_pipeline.datasets.housekeeping.removal import check_removable, choose, delete, remove
from glow_pipeline.datasets.housekeeping.stored import Stored, Where, find_leftovers, find_stored
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.tracking.destination import Destination
from glow_pipeline.tracking.failures import failure_line, mlflow_failures
from glow_pipeline.tracking.stored_runs import remove_runs, runs_by_version

NAMED = 12


@dataclass(frozen=True)
class Request:
    """The options of one `kedro versions`.

    Attributes:
        remove: labels of versions or their beginnings, or `all`; empty: only list.
        images, entry: only what is of these images, or of this entry.
        keep: how many of the newest versions of each entry stay.
        older_than: only what is older, in days.
        by_entry: a line for each entry.
        yes: remove without a question.
        force: remove also what others need.
    """

    remove: tuple[str, ...] = ()
    images: str | None = None
    entry: str | None = None
    keep: int = 0
    older_than: float | None = None
    by_entry: bool = False
    yes: bool = False
    force: bool = False


def run_versions(
    catalog: Mapping[str, Any],
    project: Path,
    place: Destination | None,
    request: Request,
    show: Callable[[str], None],
    confirm: Callable[[str], bool],
) -> None:
    """List what is stored, or remove what is requested.

    Args:
        catalog: entries with `*` in place of the names that a command fills in, and with their credentials.
        project: folder of the project.
        place: where MLflow records runs; None: it is switched off.
        show: prints a line.
        confirm: asks a question, and returns whether the answer is yes.

    Raises:
        GlowPipelineError: nothing fits, something is needed, or MLflow does not answer.
    """
    inventory = _inventory(catalog, project, place)
    stored = inventory.stored
    if elsewhere := entries_elsewhere(catalog):
        names = ", ".join(elsewhere)
        show(f"Neither on a disk nor in a bucket, so not listed nor removed here: {names}. MLflow's runs stay too.")
    if place is None:
        show("mlflow.yml: enabled: false: what MLflow's runs need is unknown, and none is removed.")
    if leftovers := find_leftovers(catalog, project):
        size = in_words(bytes_of(on_disk(leftovers)))
        show(f"An interrupted removal has left {size}; the next removal deletes them.")
    filtered = _filtered(stored, request)
    if not request.remove:
        listed = choose(filtered, ["all"], 0, request.older_than, inventory.now)
        for line in inventory.lines(listed, by_entry=request.by_entry) if listed else ["Nothing is stored."]:
            show(line)
        if listed:
            show("`kedro versions --remove <version or its beginning>` removes one; docs/data.md has more.")
        return
    if request.yes:
        for leftover in leftovers:
            delete(leftover)
    chosen = choose(filtered, request.remove, request.keep, request.older_than, inventory.now)
    if not chosen:
        show("Nothing to remove.")
        return
    if inventory.runs is None and not request.force:
        raise GlowPipelineError(
            "--remove: what MLflow's runs need is unknown, as said above; let MLflow answer, or add --force"
        )
    _check_running(stored, chosen)
    check_removable(chosen)
    for line in inventory.lines(chosen, by_entry=request.by_entry):
        show(line)
    _check_needed(inventory, chosen, request, show)
    emptied = inventory.emptied(chosen)
    freed = in_words(freed_by(inventory.contents(chosen)))
    what = counted(len(chosen), "stored folder") + (f" and {counted(len(emptied), 'MLflow run')}" if emptied else "")
    if not (request.yes or confirm(f"Remove {what}, which frees {freed}?")):
        show(f"Nothing was removed; --yes removes {what}, which frees {freed}.")
        return
    if not request.yes:  # while the question was open, other commands may have started or ended
        _check_unchanged(inventory, _inventory(catalog, project, place), chosen)
    if emptied and place is not None:  # first: of a version that is gone no later command would find the run
        _remove_runs(place, inventory, emptied, show)
    for leftover in leftovers:
        delete(leftover)
    remove(chosen)
    show(f"Removed {what}; {freed} are free.")


def _inventory(catalog: Mapping[str, Any], project: Path, place: Destination | None) -> Inventory:
    everything = [*find_stored(catalog, project), *find_in_buckets(catalog)]
    stored = sorted(everything, key=lambda each: (each.version, each.images, each.entry))
    runs = {} if place is None else runs_by_version(place)
    now = datetime.now(UTC)
    return Inventory(
        stored,
        runs,
        find_needs(stored, runs or {}, now),
        now,
        complete=not entries_elsewhere(catalog),
        shared_runs=place is not None and not place.is_own,
    )


def _filtered(stored: Sequence[Stored], request: Request) -> list[Stored]:
    for option, value, known in (
        ("--dataset", request.images, {each.images for each in stored}),
        ("--entry", request.entry, {each.entry for each in stored}),
    ):
        if value is not None and value not in known:
            raise GlowPipelineError(f"{option} {value}: nothing of it is stored; there is {', '.join(sorted(known))}")
    return [each for each in stored if request.images in (None, each.images) and request.entry in (None, each.entry)]


def _check_running(stored: Sequence[Stored], chosen: list[Stored]) -> None:
    """Check that no training that a process is at work on would lose its checkpoints or its images."""
    at_work = running(stored)
    paths = {each.path for each in at_work}
    hit = [each for each in chosen if each.path in paths or (at_work and each.entry in TABLES)]
    if hit:
        raise GlowPipelineError(
            f"--remove: {hit[0].name}: a training runs at this moment ({at_work[0].path}); wait for its end, or stop it"
        )


def _check_unchanged(before: Inventory, now: Inventory, chosen: list[Stored]) -> None:
    """Check that nothing uses what is removed that did not use it when the question was asked."""
    _check_running(now.stored, chosen)
    paths = [each.path for each in chosen]
    if new := set(unmet(paths, now.needs)) - set(unmet(paths, before.needs)):
        raise GlowPipelineError(f"--remove: nothing was removed, since by now {sorted(need.why for need in new)[0]}")


def _check_needed(inventory: Inventory, chosen: list[Stored], request: Request, show: Callable[[str], None]) -> None:
    needs = _in_words(unmet([each.path for each in chosen], inventory.needs), inventory.stored)
    if not needs:
        return
    for line in needs[:NAMED]:
        show(f"Needed: {line}")
    if len(needs) > NAMED:
        show(f"... and {len(needs) - NAMED} more")
    if not request.force:
        raise GlowPipelineError(
            "--remove: what stays needs it, as said above; remove that too, or add --force to remove all the same"
        )


def _in_words(needs: Sequence[Need], stored: Iterable[Stored]) -> list[str]:
    """Return a line for each thing that is needed and each command whose results need it."""
    known = {each.path: each for each in stored}
    lines: dict[tuple[Where, str], list[Need]] = {}
    for need in needs:
        user = need.why if need.user is None else known[need.user].version
        lines.setdefault((need.used, user), []).append(need)
    found = []
    for (used, _), same in lines.items():
        others = len({need.user for need in same}) - 1
        more = f"; {others} more of that command {plural(others, 'needs', 'need')} it too" if others else ""
        found.append(f"{known[used].name}: {same[0].why}{more}")
    return sorted(found)


def _remove_runs(place: Destination, inventory: Inventory, emptied: list[str], show: Callable[[str], None]) -> None:
    try:
        left = remove_runs(place, [run for version in emptied if (run := inventory.run(version)) is not None])
    except mlflow_failures() as error:
        raise GlowPipelineError(
            f"{place.shown}: not all MLflow runs could be removed ({failure_line(error)}); no file was; type it again"
        ) from None
    if left is not None:
        show(left)

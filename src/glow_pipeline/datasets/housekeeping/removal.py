"""The choice of what to remove, and its removal."""

import errno
import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from glow_pipeline.buckets import Address
from glow_pipeline.datasets.housekeeping.needs import MODEL
from glow_pipeline.datasets.housekeeping.stored import REMOVED, InBucket, Stored, Where
from glow_pipeline.datasets.places import copy_of_address
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import rename_whole
from glow_pipeline.images.bucket_tables import BucketTables

ALL = "all"


def choose(
    stored: Sequence[Stored], versions: Collection[str], keep: int, older_than: float | None, now: datetime
) -> list[Stored]:
    """Return what to remove.

    Args:
        stored: what may be removed.
        versions: labels or their beginnings; `all` for each.
        keep: how many of the newest versions of each entry stay.
        older_than: only what is older, in days; None: whatever its age is.
        now: the present moment.

    Raises:
        GlowPipelineError: a label fits nothing.
    """
    for label in versions:
        if label != ALL and not any(each.version.startswith(label) for each in stored):
            raise GlowPipelineError(
                f"--remove {label}: no stored version begins so; `kedro versions` lists them (all stands for each)"
            )
    kept = _newest(stored, keep)
    return [
        each
        for each in stored
        if each.path not in kept
        and any(label == ALL or each.version.startswith(label) for label in versions)
        and (older_than is None or each.age(now) > older_than)
    ]


def remove(stored: Iterable[Stored]) -> None:
    """Remove folders: each gets a hidden name first, so that no reader ever sees a part of it.

    In a bucket, which has no other names, the file goes first by which a version is known. Models go last: an
    interrupted removal leaves no detector and no figures of a model that is gone. What another command has removed
    meanwhile is passed over.
    """
    shared: set[Address] = set()
    for each in sorted(stored, key=lambda one: one.entry == MODEL):
        if isinstance(each.path, Path):
            _remove_folder(each.path)
        elif each.in_bucket is not None:
            shared.update(_remove_from_bucket(each.path, each.in_bucket))
    for folder in shared:
        BucketTables(folder.parent, copy_of_address(folder.parent)).remove_unused(folder.name)


def _remove_folder(path: Path) -> None:
    hidden = path.with_name(f"{REMOVED}.{uuid.uuid4().hex[:8]}.{path.name}")
    with suppress(FileNotFoundError):
        rename_whole(path, hidden)
        delete(hidden)
    with suppress(OSError):  # it is not empty, or gone
        path.parent.rmdir()


def _remove_from_bucket(address: Address, facts: InBucket) -> list[Address]:
    """Remove a folder with its local copy; return that of a table's files, which other versions may name."""
    if facts.known_by is not None:
        facts.known_by.delete_file()
        address.delete()
        delete(copy_of_address(address))
    return [] if facts.shared is None else [facts.shared]


def delete(path: Path) -> None:
    """Delete a folder, or a link to one."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        with suppress(FileNotFoundError):  # another command deletes it too
            shutil.rmtree(path)


def check_removable(stored: Iterable[Stored]) -> None:
    """Check that the user may remove all of these, before one of them is touched.

    Raises:
        PermissionError: names the first folder in which nothing may be changed.
        GlowPipelineError: a bucket refuses.
    """
    buckets: set[str] = set()
    for each in stored:
        if isinstance(each.path, Address):
            if (bucket := each.path.path.partition("/")[0]) not in buckets:
                each.path.parent.check_removable()
            buckets.add(bucket)
            continue
        folders = [] if each.path.is_symlink() else [folder for folder, _, _ in os.walk(each.path)]
        for folder in (str(each.path.parent), *folders):
            if os.path.exists(folder) and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):  # noqa: PTH110  # of many
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)


def _newest(stored: Sequence[Stored], keep: int) -> set[Where]:
    by_place: dict[tuple[str, Where], list[Stored]] = {}
    for each in stored:
        if each.kind == "parts":
            continue
        place = each.path.parent.parent if each.kind == "training" else each.path.parent
        by_place.setdefault((each.entry, place), []).append(each)
    ordered = (sorted(each, key=lambda one: one.version, reverse=True) for each in by_place.values())
    return {one.path for each in ordered for one in each[:keep]}

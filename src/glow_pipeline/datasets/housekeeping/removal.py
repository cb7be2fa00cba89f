"""The choice of what to remove, and its removal."""

import errno
import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from glow_pipeline.datasets.housekeeping.needs import MODEL
from glow_pipeline.datasets.housekeeping.stored import REMOVED, Stored, age_of
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import rename_whole

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
        and (older_than is None or age_of(each.version, each.path, now) > older_than)
    ]


def remove(stored: Iterable[Stored]) -> None:
    """Remove folders: each gets a hidden name first, so that no reader ever sees a part of it.

    Models go last: an interrupted removal leaves no detector and no figures of a model that is gone. What another
    command has removed meanwhile is passed over.
    """
    for each in sorted(stored, key=lambda one: one.entry == MODEL):
        hidden = each.path.with_name(f"{REMOVED}.{uuid.uuid4().hex[:8]}.{each.path.name}")
        with suppress(FileNotFoundError):
            rename_whole(each.path, hidden)
            delete(hidden)
        with suppress(OSError):  # it is not empty, or gone
            each.path.parent.rmdir()


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
    """
    for each in stored:
        folders = [] if each.path.is_symlink() else [folder for folder, _, _ in os.walk(each.path)]
        for folder in (str(each.path.parent), *folders):
            if os.path.exists(folder) and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):  # noqa: PTH110  # of many
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)


def _newest(stored: Sequence[Stored], keep: int) -> set[Path]:
    by_place: dict[tuple[str, Path], list[Stored]] = {}
    for each in stored:
        if each.kind == "parts":
            continue
        place = each.path.parent.parent if each.kind == "training" else each.path.parent
        by_place.setdefault((each.entry, place), []).append(each)
    ordered = (sorted(each, key=lambda one: one.version, reverse=True) for each in by_place.values())
    return {one.path for each in ordered for one in each[:keep]}

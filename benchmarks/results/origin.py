"""Where a row comes from: command, commit, machine, day."""

from datetime import UTC, datetime
from pathlib import Path

import joblib
import torch

from glow_pipeline.hooks.provenance import provenance_of
from glow_pipeline.provenance import Provenance
from results.rows import Row


def origin_of(made: Provenance, day: str) -> Row:
    """Return the part of a row that all tables have.

    Args:
        made: the run that made it, on this machine.
        day: when, as YYYY-MM-DD.
    """
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "command": made.command,
        "commit": None if made.git_commit is None else made.git_commit[:7] + ("+" if made.git_dirty else ""),
        "date": day,
        "machine": f"{joblib.cpu_count()} cores" + (f", {gpu}" if gpu else ""),
        "torch": made.versions.get("torch"),
    }


def origin_now(command: str, project: Path) -> Row:
    """Return it for what a command makes in this moment."""
    return origin_of(provenance_of("", project, command), datetime.now(UTC).date().isoformat())

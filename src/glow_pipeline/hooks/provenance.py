"""Who and what makes a run: session, commit, versions, user."""

import getpass
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from glow_pipeline.training.model_file import Provenance

PACKAGE = "glow_pipeline"


def provenance_of(session: str, project: Path) -> Provenance:
    """Of a run in this Kedro session of the project in this folder."""
    commit = _git(project, "rev-parse", "HEAD")
    return Provenance(
        kedro_session=session,
        git_commit=commit,
        git_dirty=bool(_git(project, "status", "--porcelain")) if commit else None,
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Installed versions of Python, of this package, and of each package that it asks for by itself."""
    asked = [line for line in requires(PACKAGE) or [] if "extra ==" not in line]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in asked]
    found = {name: _version(name) for name in [PACKAGE, *sorted(names)]}
    return {"python": platform.python_version(), **{name: number for name, number in found.items() if number}}


def user() -> str | None:
    """Who runs this, or None where a container runs under a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _version(name: str) -> str | None:
    """None if it is not installed; what needs it will say so."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(project: Path, *arguments: str) -> str | None:
    """What git answers, or None where there is no git, no repository or no commit."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None

"""The origin of a run: session, commit, versions, user."""

import getpass
import platform
import subprocess
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from glow_pipeline import __version__
from glow_pipeline.provenance import Provenance

PACKAGE = "glow_pipeline"


def provenance_of(session: str, project: Path, command: str) -> Provenance:
    """Return the provenance of a run by this command, in this Kedro session of the project in this folder."""
    commit = _git(project, "rev-parse", "HEAD")
    return Provenance(
        kedro_session=session,
        git_commit=commit,
        git_dirty=bool(_git(project, "status", "--porcelain", "--", ".", ":!docs")) if commit else None,
        command=command,
        versions=versions(requirements(project)),
    )


def requirements(project: Path) -> list[str]:
    """Return what this package requires; where it is not installed but on the path, as this project's file has it."""
    try:
        return requires(PACKAGE) or []
    except PackageNotFoundError:
        declared: list[str] = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
        return declared


def versions(requirements: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python, of this package and of what is installed of its requirements, without extras."""
    required = [Requirement(line) for line in requirements]
    names = sorted(each.name for each in required if each.marker is None or each.marker.evaluate({"extra": ""}))
    found = {name: _version(name) for name in names}
    installed = {name: number for name, number in found.items() if number}
    return {"python": platform.python_version(), PACKAGE: __version__, **installed}


def user() -> str | None:
    """Return who runs this; None where a container runs under a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _version(name: str) -> str | None:
    """Return a package's version; None if it is not installed, which whatever needs it will report."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(project: Path, *arguments: str) -> str | None:
    """Return git's answer; None where there is no git, no repository or no commit."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None

"""Targets of the Makefile, and when they make a new environment."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.project import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose environment is that of its place, which has a space in its name."""
    folder = tmp_path / "my project"
    (folder / ".venv").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv" / ".installed").write_text(f"{folder.resolve()}\n")
    return folder


def commands(folder: Path, *typed: str) -> str:
    """Return the commands that `make` would run there."""
    done = subprocess.run(["make", "-n", *(typed or ["run"])], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_environment_in_its_place_is_kept(project: Path) -> None:
    assert "venv" not in commands(project).replace(".venv/bin/kedro", "")


def test_moved_or_copied_environment_is_made_anew(project: Path) -> None:
    moved = project.rename(project.parent / "moved")
    copied = shutil.copytree(moved, project.parent / "copied")
    assert "-m venv --clear .venv" in commands(moved)
    assert "-m venv --clear .venv" in commands(copied)


def test_newer_lock_is_installed_on_top(project: Path) -> None:
    installed = project / ".venv" / ".installed"
    (project / "requirements.lock").touch()
    os.utime(installed, (0, 0))
    assert "-m venv .venv" in " ".join(commands(project).split())


@pytest.mark.parametrize(
    "target",
    [
        "run",
        "test",
        "lint",
        "lowest",
        "sources",
        "docs",
        "site",
        "clean-data",
        "ui",
        "viz",
        "serve",
        "bench",
        "results",
        "lock",
    ],
)
def test_every_target_installs_what_it_needs(project: Path, target: str) -> None:
    shutil.rmtree(project / ".venv")
    assert "-m venv" in commands(project, target)


def test_quick_leaves_out_what_runs_pipelines(project: Path) -> None:
    quick, test = commands(project, "quick"), commands(project, "test")
    assert 'pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m "not slow and not gpu' in quick
    assert "not pipeline" in quick
    assert "not pipeline" not in test


def test_results_passes_table_and_rows_on(project: Path) -> None:
    assert "make_tables.py matrix --rows mnist digits" in commands(
        project, "results", "TABLE=matrix", "ROWS=mnist digits"
    )

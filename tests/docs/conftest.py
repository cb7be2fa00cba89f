"""The site, built once; and a project in which commands of the documents start."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glow_pipeline.hooks.run import RunHook
from tests.docs.typed import Started, model_of, write_images
from tests.project import ROOT


def build(project: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a project as `make docs` does; any warning, such as a broken link, is an error (`strict`)."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--config-file", project / "mkdocs.yml", "--site-dir", folder],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this project."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def made(finished_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model of digits, and beside it a home folder with folders of images and a model."""
    folder = shutil.copytree(finished_digits, tmp_path_factory.mktemp("documents") / "project")
    home = folder.parent / "home"
    for name in ("clothes", "new", "normal", "scans", "xrays/normal", "xrays/suspicious"):
        write_images(home / name)
    shutil.copy(model_of(folder), home / "glow.safetensors")
    (folder / "run.yml").write_text("run:\n  pipelines: [ood]\n")
    return folder


@pytest.fixture
def project(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, with its home folder as `~`, and the first of two machines as this one."""
    monkeypatch.setenv("HOME", str(made.parent / "home"))
    for name, value in (("NODE_RANK", "0"), ("MASTER_ADDR", "gpu1"), ("MASTER_PORT", "29500")):
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def starting_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs end after their checks, before they open an MLflow run."""

    def stop(*_: object) -> None:
        raise Started

    monkeypatch.setattr(RunHook, "_claim_training", stop)

"""The site, built once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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

"""The project as a wheel and an archive of its configuration, in a folder that is no project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT, TINY_TYPED, copy_project, kedro


def test_packaged_logging_is_that_of_the_project() -> None:
    assert (ROOT / "src" / "glow_pipeline" / "logging.yml").read_text() == (ROOT / "conf" / "logging.yml").read_text()


@pytest.mark.slow
def test_wheel_and_archive_run_in_an_empty_folder(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, project / name)
    packaged = kedro(project, "package")
    assert packaged.returncode == 0, packaged.stdout + packaged.stderr
    (wheel,) = (project / "dist").glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    folder = tmp_path / "empty folder"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    environment.pop("KEDRO_LOGGING_CONFIG", None)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "glow_pipeline", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    archive = str(project / "dist" / "conf-glow_pipeline.tar.gz")
    done = run("--conf-source", archive, "--env", "digits", "--pipelines", "train", "--params", TINY_TYPED)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.splitlines()
    assert len(printed) < 30
    (model,) = [line.split()[1] for line in printed if line.split()[:1] == ["glow_model"]]
    assert (folder / model).is_file()
    said = [line for line in done.stderr.splitlines() if line.strip() and "%|" not in line]  # no bar
    assert [line.split(":")[0] for line in said] == ["Images", "Model", "Steps", "Stop"], "no warnings"
    lost = run("--env", "digits")
    assert lost.returncode == 1
    assert lost.stderr.count("\n") == 1
    assert "type --conf-source" in lost.stderr

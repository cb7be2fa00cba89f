"""Commands of tables: their model, and what is said where something is not there."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from results.commands import configuration, fetch_images, newest_model, run, with_model
from results.rows import RowLeftOut

from glow_pipeline.errors import GlowPipelineError
from tests.benchmarks.tiny import with_tiny_preset
from tests.proc import alive, children, on_linux
from tests.project import ROOT, versions


def test_newest_model_of_the_preset_is_taken(finished_digits: Path, tmp_path: Path) -> None:
    project = with_tiny_preset(finished_digits, tmp_path)
    found = newest_model("tiny", project)
    assert found == versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors")[-1]
    command = f"kedro run --env tiny --pipelines sample --params stored_model={found.parent.name}"
    assert with_model("tiny", "sample", project) == (command, found)


def test_model_with_other_parameters_is_not_the_presets(finished_digits: Path) -> None:
    """That of `tests.project.TINY_COMMAND` was typed with `--env digits` and smaller networks."""
    with pytest.raises(RowLeftOut, match="no model is trained yet"):
        newest_model("digits", finished_digits)


def test_shipped_model_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "models" / "digits").mkdir(parents=True)
    (tmp_path / "models" / "digits" / "glow_model.safetensors").touch()
    command = "kedro run --pipelines benchmark --params model=digits,seed=1"
    assert with_model("digits", "benchmark", tmp_path, "seed=1")[0] == command


def test_preset_without_model_says_how_to_train(tmp_path: Path) -> None:
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    with pytest.raises(RowLeftOut, match="first make results TABLE=likelihood ROWS=mnist"):
        with_model("mnist", "sample", tmp_path)


def test_absent_images_name_the_command(tmp_path: Path) -> None:
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    with pytest.raises(RowLeftOut, match="is missing; once it is there, make results ROWS=svhn runs kedro x") as reason:
        fetch_images("svhn", tmp_path, "kedro x")  # `kedro run` fails in a folder without a project
    assert "test_32x32.mat" in str(reason.value) or "train_32x32.mat" in str(reason.value)


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(GlowPipelineError, match="mnits: no such preset; name a folder of conf/: base, "):
        configuration("mnits", ROOT)


def test_failed_command_is_one_line() -> None:
    with pytest.raises(GlowPipelineError, match=r"json\.tool --nothing: ended with code 2; see above"):
        run("json.tool --nothing", ROOT)


@on_linux
def test_killed_table_ends_its_command(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text("import time\nopen('started', 'w')\ntime.sleep(60)\n")
    typed = "from pathlib import Path; from results.commands import run; run('child', Path())"
    path = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'benchmarks'}"}
    with subprocess.Popen([sys.executable, "-c", typed], cwd=tmp_path, env={**os.environ, **path}) as table:
        wait_for(lambda: (tmp_path / "started").exists())
        (command,) = children(table.pid)
        table.kill()
    wait_for(lambda: not alive(command))


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)

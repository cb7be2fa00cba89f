"""`benchmarks/gpu_checks.sh` and its measurements as far as a CPU can run them: with one small step each."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.project import ROOT

FORMS = ("convolutions", "kernels")
ALL_PARTS = """
import sys
sys.path.insert(0, "benchmarks")
import gpu
gpu.accuracy()
gpu.train(2, 8, 4, "convolutions")
gpu.train(2, 8, 4, "kernels")
gpu.score("convolutions")
gpu.score("kernels")
gpu.peers()
"""


def run(tmp_path: Path, *command: str) -> str:
    environment = {**os.environ, "DRY_RUN": "1", "OUT": str(tmp_path), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def results(printed: str) -> list[dict[str, Any]]:
    """Return the rows of a dry run, whose kinds and values have been checked."""
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    kinds = [next(iter(row)) for row in rows]
    assert kinds.count("accuracy") == 27
    assert all(row["gradient"] < 0.02 for row in rows if "gradient" in row)
    assert {row["train"] for row in rows if "train" in row} == {f"K=2 hidden 8, batch 4, {form}" for form in FORMS}
    assert "score" in kinds
    assert all(row["images_per_s"] is None for row in rows if "images_per_s" in row)
    assert {row["levels_by_kernels"] for row in rows if "levels_by_kernels" in row} == {0}
    return rows


@pytest.mark.slow
def test_all_measurements_run_in_one_process(tmp_path: Path) -> None:
    rows = results(run(tmp_path, sys.executable, "-c", ALL_PARTS))
    assert any("peer" in row for row in rows)


@pytest.mark.slow
def test_idle_share_and_the_hosts_work_are_measured(tmp_path: Path) -> None:
    printed = run(tmp_path, sys.executable, "benchmarks/gpu.py", "idle")
    shares, gaps, host = (json.loads(line) for line in printed.splitlines() if line.startswith("{"))
    assert shares["idle"] == "3 epochs of 64 images"
    assert 0 < shares["steps_s"] < shares["whole_s"]
    assert shares["idle_percent"] == pytest.approx(
        100 * (1 - (shares["steps_s"] + shares["validations_s"]) / shares["whole_s"]), abs=0.1
    )
    assert len(gaps["each"]) == 2
    assert {"queue_validation", "wait_for_steps", "report_epoch", "report_samples", "shuffle"} <= host.keys()
    assert all(ms > 0 for name, ms in host.items() if name != "host_ms_an_epoch")


def test_results_are_not_added_to_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "train.txt").touch()
    environment = {**os.environ, "DRY_RUN": "1", "OUT": str(tmp_path)}
    command = ["bash", "benchmarks/gpu_checks.sh"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"OUT={tmp_path}: holds files already; name an empty folder\n"


def test_checks_are_a_script_of_the_shell(tmp_path: Path) -> None:
    run(tmp_path, "bash", "-n", "benchmarks/gpu_checks.sh")


@pytest.mark.slow
def test_dry_run_makes_all_measurements(tmp_path: Path) -> None:
    results(run(tmp_path, "bash", "benchmarks/gpu_checks.sh"))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.txt" for name in ("accuracy", "idle", "machine", "peers", "score", "train")
    }
    made = run(tmp_path, sys.executable, "benchmarks/gpu.py", "table", str(tmp_path / "train.txt"))
    assert "| train | ms | host_ms | images_per_s | levels_by_kernels |" in made

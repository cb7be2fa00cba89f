"""`benchmarks/gpu_checks.sh` as far as a CPU can run it: every measurement with one small step."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.project import ROOT


def test_dry_run_makes_all_measurements(tmp_path: Path) -> None:
    environment = {**os.environ, "DRY_RUN": "1", "OUT": str(tmp_path), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "benchmarks/gpu_checks.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    kinds = [next(iter(row)) for row in rows]
    assert kinds.count("accuracy") == 18
    assert all(row["gradient"] < 0.02 for row in rows if "gradient" in row)
    assert {row["train"] for row in rows if "train" in row} == {
        f"K=2 hidden 8, batch 4, {form}" for form in ("convolutions", "products")
    }
    assert "score" in kinds
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.txt" for name in ("accuracy", "machine", "peers", "score", "train")
    }
    made = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "table", str(tmp_path / "train.txt")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "| train | ms | host_ms | images_per_s |" in made.stdout

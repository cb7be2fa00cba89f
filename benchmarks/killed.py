"""Check that a training killed twice and resumed ends with the same model as one that was never killed.

    python benchmarks/killed.py [--env digits] [--params train.n_epochs=20] [--every 10steps] [--seed 0]

Runs `kedro run --pipelines train` in two copies of the project: in one to its end; in the other killed by `kill -9` at
two random moments, repeated each time, and then to its end. The number of threads is fixed, since bits depend on it.
Prints the SHA-256 of the tensors of both models and the number of steps in MLflow. Exits with 1 if anything differs.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from safetensors import safe_open

ROOT = Path(__file__).parents[1]
BAR = re.compile(rb"train: .*\| (\d+)/(\d+) \[")  # as tqdm draws it: done/all [


def main() -> None:
    """Print the digests and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="digits")
    parser.add_argument("--params", default="train.n_epochs=20", help="as kedro run takes them")
    parser.add_argument("--every", default="10steps", help="train.checkpoint_every")
    parser.add_argument("--threads", type=int, default=1, help="train.threads")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    params = f"{arguments.params},train.checkpoint_every={arguments.every},train.threads={arguments.threads}"
    command = [sys.executable, "-m", "kedro", "run", "--env", arguments.env, "--pipelines", "train", "--params", params]
    with tempfile.TemporaryDirectory() as temporary:
        uninterrupted, killed = (copy_project(Path(temporary) / name) for name in ("uninterrupted", "killed"))
        run(command, uninterrupted, None)
        # After 20% to 60% of the remaining steps, so that each command makes some.
        for _ in range(arguments.kills):
            done, total = run(command, killed, moments.uniform(0.2, 0.6))
            print(f"killed by SIGKILL at step {done} of {total}")  # noqa: T201
        run(command, killed, None)
        results = [(digest_of_tensors(project), logged_steps(project)) for project in (uninterrupted, killed)]
    for name, (digest, steps) in zip(("never killed", "killed"), results, strict=True):
        print(f"{name:<13} {digest}  {len(steps)} epochs in {len(set(steps))} steps of one MLflow run")  # noqa: T201
    sys.exit(0 if results[0] == results[1] else "they differ")


def copy_project(folder: Path) -> Path:
    """Copy the files that a run needs to `folder`, without results; raw images are linked."""
    for name in ("conf", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "data").mkdir()
    if (raw := ROOT / "data" / "01_raw").is_dir():
        (folder / "data" / "01_raw").symlink_to(raw)
    return folder


def run(command: list[str], project: Path, part: float | None) -> tuple[int, int]:
    """Run the command, killed after `part` of its remaining steps if given; return the steps done and in all."""
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    first = done = total = 0
    shown = b""
    os.set_blocking(process.stderr.fileno(), False)
    while process.poll() is None:
        shown = (shown + (process.stderr.read() or b""))[-10_000:]
        if found := BAR.findall(shown):
            done, total = (int(number) for number in found[-1])
            first = first or done
            if part is not None and done > first and done >= first + part * (total - first):
                os.kill(process.pid, signal.SIGKILL)
                break
        time.sleep(0.02)
    code = process.wait()
    if code != (0 if part is None else -signal.SIGKILL):
        sys.exit(f"exit code {code}: {shown.decode(errors='replace')[-2000:]}")
    return done, total


def digest_of_tensors(project: Path) -> str:
    """Return the SHA-256 of the names and bytes of the only model's tensors."""
    (path,) = project.glob("data/06_models/*/glow_model.safetensors/*/glow_model.safetensors")
    digest = hashlib.sha256()
    with safe_open(path, framework="np") as file:
        for name in sorted(file.keys()):
            digest.update(name.encode() + file.get_tensor(name).tobytes())
    return digest.hexdigest()


def logged_steps(project: Path) -> list[int]:
    """Return the steps at which the only MLflow run has bits per dimension of validation images, in order."""
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        ((_, status),) = database.execute("select run_uuid, status from runs").fetchall()
        assert status == "FINISHED"
        found = database.execute("select step from metrics where key = 'val/bits_per_dim' order by step")
        return [step for (step,) in found]


if __name__ == "__main__":
    main()

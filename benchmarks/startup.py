"""Seconds from `kedro run --env digits --pipelines train` to its first training step.

    python benchmarks/startup.py [--runs 3]

Runs the command in a copy of the project: once with nothing ingested and no mlflow.db, once more with both. The first
step is detected when the progress bar on stderr, redrawn twice a second, first counts a step; then the run is
interrupted as by Ctrl-C. Between these runs a plain Python imports the packages that any such command needs: other work
on the machine slows that as well, so the ratio to it is comparable between machines. Prints a Markdown table.
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import cache_from_source, find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "kedro", "run", "--env", "digits", "--pipelines", "train"]
IMPORTS = "import kedro.framework.cli, torch, matplotlib.figure, pandas, mlflow.store.tracking.sqlalchemy_store"
BAR = re.compile(rb"train: .*\| (\d+)/\d+ \[")  # what tqdm draws: done/all [


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="first and repeated runs and imports, in turn")
    arguments = parser.parse_args()
    names = ("first run", "repeated run", "imports alone")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as temporary:
            project = copy_project(Path(temporary))
            for name in names[:2]:
                seconds[name].append(seconds_to_first_step(project))
        seconds["imports alone"].append(seconds_of_imports())
    alone = statistics.median(seconds["imports alone"])
    print(f"| {os.cpu_count()} cores, byte code {bytecode()} | each | median | ratio |")  # noqa: T201
    print("|---|---|---|---|")  # noqa: T201
    for name, each in seconds.items():
        median = statistics.median(each)
        listed = ", ".join(f"{one:.1f}" for one in each)
        print(f"| {name} | {listed} s | {median:.1f} s | {median / alone:.2f} |")  # noqa: T201


def copy_project(folder: Path) -> Path:
    """Copy the files that a run needs to `folder`, without data."""
    for name in ("conf", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "data").mkdir()
    return folder


def seconds_to_first_step(project: Path) -> float:
    """Start the command, wait for the first step, interrupt it; return the seconds to that step.

    Raises:
        RuntimeError: the command ended before a step.
    """
    started = time.perf_counter()
    with subprocess.Popen(COMMAND, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        shown = b""
        while not any(int(done) for done in BAR.findall(shown)):
            new = os.read(process.stderr.fileno(), 4096)
            if not new:
                raise RuntimeError(f"no training step: {shown.decode()}")
            shown += new
        seconds = time.perf_counter() - started
        process.send_signal(signal.SIGINT)
        process.communicate()
    return seconds


def seconds_of_imports() -> float:
    """Return the seconds of a Python that only imports the packages."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - started


def bytecode() -> str:
    """Return "stored" or "not stored": without stored byte code each start compiles the packages, in twice the time."""
    torch = find_spec("torch")
    assert torch is not None
    assert torch.origin is not None
    return "stored" if Path(cache_from_source(torch.origin)).exists() else "not stored"


if __name__ == "__main__":
    main()

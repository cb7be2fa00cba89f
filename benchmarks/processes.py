"""Speed of a training in several processes compared with one process of as many threads.

    python benchmarks/processes.py [--processes 2] [--rounds 3] [--params dataset=fashionmnist,ingest.classes=0]

Runs `kedro run --pipelines train` in a copy of the project, alternately with one process and with several, on the same
batches, and prints the images per second of each run's fastest epoch from MLflow: other work on the machine makes an
epoch slower, never faster.
"""

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from killed import copy_project

PARAMS = "dataset=fashionmnist,ingest.classes=0"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--params", default=PARAMS, help="as kedro run takes them")
    arguments = parser.parse_args()
    params = f"{arguments.params},train.n_epochs={arguments.epochs},train.resume=never"
    one: list[float] = []
    several: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        project = copy_project(Path(temporary) / "project")
        for _ in range(arguments.rounds):
            for speeds, devices in ((one, 1), (several, arguments.processes)):
                speeds.append(images_per_second(project, f"{params},train.devices={devices}"))
    ratios = [many / single for many, single in zip(several, one, strict=True)]
    print("| processes | images/s, each round | median | ratio, median |\n|---|---|---|---|")  # noqa: T201
    for processes, speeds, ratio in ((1, one, 1.0), (arguments.processes, several, statistics.median(ratios))):
        each = ", ".join(f"{speed:.0f}" for speed in speeds)
        print(f"| {processes} | {each} | {statistics.median(speeds):.0f} | {ratio:.2f} |")  # noqa: T201


def images_per_second(project: Path, params: str) -> float:
    """Train, and return the images per second of the fastest epoch."""
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", "train", "--params", params]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    newest = "select run_uuid from runs order by start_time desc limit 1"
    query = f"select max(value) from metrics where key = 'images_per_second' and run_uuid = ({newest})"
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        return float(database.execute(query).fetchone()[0])


if __name__ == "__main__":
    main()

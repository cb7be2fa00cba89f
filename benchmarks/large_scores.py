"""Measure how much memory and time the figures of `ood` need for very many images, with scores that are made up.

    python benchmarks/large_scores.py 20000000

Scores of two sets in parts, as scoring leaves them, are gathered into one file, measured, drawn and listed by the nodes
of `ood`. A row a step: the most memory that the process has in it, as Linux counts it, beyond that of its imports; and
seconds.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from glow_pipeline.datasets import ScoreTableDataset
from glow_pipeline.outliers.histogram_metrics import ERROR
from glow_pipeline.outliers.ranks import images_to_show
from glow_pipeline.outliers.score_table import ScoreTable, StoredScores
from glow_pipeline.parameters import OodParameters
from glow_pipeline.pipelines.ood.figures import list_most_outlying, plot_detection, ranked_pieces
from glow_pipeline.pipelines.ood.nodes import gather_scores, measure_detection
from glow_pipeline.pipelines.ood.stored_scores import requested_scores

SCORES = ["density_sum", "nll", "complexity"]
PART = 2**20  # rows
Result = TypeVar("Result")


def main() -> None:
    """Measure each step and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, help="images of both sets together")
    parser.add_argument("--draws", type=int, default=20, help="resamples for the intervals (ood.bootstrap is 1000)")
    given = parser.parse_args()
    ood = OodParameters(scores=SCORES, score="density_sum", bootstrap=given.draws)
    with tempfile.TemporaryDirectory() as folder:
        entry = ScoreTableDataset(filepath=str(Path(folder) / "ood_scores.parquet"))
        making = [(Path(folder), name, given.rows // 2, ood) for name in ("digits", "textures")]
        with multiprocessing.get_context("spawn").Pool(1) as other:  # whose memory does not count
            inside, outside = other.starmap(made_up, making)
        print("| step | MB | s |\n|---|---|---|")  # noqa: T201
        measured("gather_scores", lambda: entry.save(gather_scores(inside, outside)))
        scored = ScoreTable.of(entry.load())
        facts: dict[str, Any] = {"images": "1x8x8_4bit_resize"}
        metrics = measured("measure_detection", lambda: measure_detection(scored, facts, {}, ood, 0, "cpu"))
        measured("plot_detection", lambda: plot_detection(scored, metrics))
        measured("list_most_outlying", lambda: list_most_outlying(scored, ood))
        measured("ranks", lambda: ranked(scored, ood))
        errors = [value for key, value in metrics.items() if key.startswith(ERROR) and isinstance(value, float)]
        print(f"\nAUROC {metrics['auroc']:.6f}; no metric is off by more than {max(errors, default=0.0):.2g}")  # noqa: T201


def made_up(folder: Path, name: str, n: int, ood: OodParameters) -> StoredScores:
    """Write the parts of a set and return them."""
    random, paths = np.random.default_rng(len(name)), []
    columns = [score.column for score in requested_scores(ood)]
    for start in range(0, n, PART):
        rows = np.arange(start, min(start + PART, n))
        values = {column: random.normal(len(name) / 8, size=len(rows)) for column in columns}
        part = {
            "source": name,
            "split": "test",
            "index": pd.array(rows, dtype="Int64"),
            "file": [f"{name}/image_{row:09}.png" for row in rows],
            "label": pd.array(rows % 10, dtype="Int64"),
            **values,
            "unreadable": None,
        }
        paths.append(folder / f"{name}_{start}.parquet")
        pd.DataFrame(part).to_parquet(paths[-1])
    return StoredScores(paths)


def ranked(scored: ScoreTable, ood: OodParameters) -> object:
    """Choose the images of the figure `ood_images`, as its node does before it reads them."""
    return images_to_show(ranked_pieces(scored, requested_scores(ood)[:2]), 8)


def measured(name: str, step: Callable[[], Result]) -> Result:
    """Take a step and print its row."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    start = time.perf_counter()
    result = step()
    print(f"| {name} | {peak() - IMPORTED:.0f} | {time.perf_counter() - start:.1f} |", flush=True)  # noqa: T201
    return result


def peak() -> float:
    """Return the most memory that this process has had, in MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3


IMPORTED = peak()

if __name__ == "__main__":
    main()

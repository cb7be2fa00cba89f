"""`ood` on a table of scores that is too large for a DataFrame."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.hooks.test_catalog_entries import put
from tests.project import run, versions

SCORES = "07_model_output/digits/vs_textures/ood_scores.parquet"
ENTRY = f"""
ood_scores:
  type: glow_pipeline.datasets.ScoreTableDataset
  filepath: data/{SCORES}
  frame_rows: 10
  versioned: true
  metadata: {{mlflow: tables}}
"""


@pytest.mark.slow
def test_scores_in_pieces_give_the_same_results(digits_project: Path) -> None:
    for _ in range(2):
        run(digits_project, "ood")
        put(digits_project, ENTRY)
    first, last = sorted(versions(digits_project, f"{SCORES}/*/*"))[-2:]
    pd.testing.assert_frame_equal(pd.read_parquet(first), pd.read_parquet(last))
    for name in ("ood_metrics.json", "most_outlying.csv", "ood_images.png", "ood_histogram.png", "ood_roc.png"):
        before, now = versions(digits_project, f"08_reporting/digits/vs_textures/{name}/*/{name}")[-2:]
        assert before.parent != now.parent
        if name.endswith(".json"):
            assert json.loads(before.read_text()) == json.loads(now.read_text())
        else:
            assert before.read_bytes() == now.read_bytes(), name

"""Metrics of a table of scores: exact up to a number of images, from histograms above."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.outliers.metric_names import tracked_metrics
from glow_pipeline.outliers.metrics import METRICS
from glow_pipeline.outliers.report import warnings_of_scores
from glow_pipeline.outliers.score_metrics import metrics_of_table, score_metrics
from glow_pipeline.outliers.scores import SCORES
from tests.outliers.test_score_table import InPieces

NAMES = ["nll", "complexity"]
REQUESTED = [SCORES[name] for name in NAMES]
N = 20_000


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Two scores of images, of which some could not be read."""
    random = np.random.default_rng(0)
    is_out = np.arange(N) >= N // 2
    scores = {score.column: random.normal(size=N) + is_out for score in REQUESTED}
    scores[REQUESTED[0].column][:5] = math.inf, -math.inf, math.nan, 1e30, 1e30
    unreadable = pd.Series([None] * N, dtype=object)
    unreadable[::100] = "is empty"
    return pd.DataFrame({**scores, "unreadable": unreadable, "is_out": is_out})


def exact(rows: pd.DataFrame, draws: int) -> dict[str, Any]:
    """Return the metrics of all rows in memory."""
    readable = rows[rows["unreadable"].isna()]
    is_out = readable["is_out"].to_numpy()
    values = {score.column: readable[score.column].to_numpy() for score in REQUESTED}
    return {
        **score_metrics(REQUESTED, values, is_out, draws, 3),
        "n_in": int((~is_out).sum()),
        "n_out": int(is_out.sum()),
    }


def test_few_images_have_the_exact_metrics(rows: pd.DataFrame) -> None:
    got = metrics_of_table(REQUESTED, InPieces(rows, 777), 5, 3, most_exact=N)
    assert got == exact(rows, 5)
    assert list(got) == list(exact(rows, 5)), "in the same order, too"


def test_more_images_have_those_of_histograms(rows: pd.DataFrame) -> None:
    got, expected = metrics_of_table(REQUESTED, InPieces(rows, 777), 0, 3, most_exact=10_000), exact(rows, 0)
    added = {"metrics_from", "histogram_error", "histogram_error.complexity"}
    assert set(got) == {*expected, *added}
    assert got["metrics_from"] == "histogram"
    compared = [key for key in expected if key != "main_score"]
    assert [got[key] for key in compared] == pytest.approx([expected[key] for key in compared], abs=1e-4)
    assert {key: value for key, value in got.items() if key.startswith("n_")} == {
        key: value for key, value in expected.items() if key.startswith("n_")
    }


def test_histograms_have_intervals_of_metrics_and_differences(rows: pd.DataFrame) -> None:
    got = metrics_of_table(REQUESTED, InPieces(rows, N), 20, 3, most_exact=10_000)
    assert set(got) >= set(exact(rows, 2))
    for key in (*METRICS, "auroc_minus_complexity"):
        low, value, high = (float(str(got[f"{key}{end}"])) for end in ("_low", "", "_high"))
        assert low < value < high
        assert high - low < 0.1


def test_closing_lines_say_how_exact_metrics_are(rows: pd.DataFrame) -> None:
    facts = {"in_dataset": "digits", "out_dataset": "textures"}
    got = {**metrics_of_table(REQUESTED, InPieces(rows, N), 0, 3, most_exact=10_000), **facts}
    assert (
        "The metrics of these 19,800 images are computed from histograms of the scores; they differ by less than "
        "0.000001 from those of the single images."
    ) in warnings_of_scores({**got, "histogram_error": 0.0, "histogram_error.complexity": 0.0})
    assert any("by less than 0.000043 " in line for line in warnings_of_scores({**got, "histogram_error": 0.0000421}))
    assert not any("histogram" in line for line in warnings_of_scores({**exact(rows, 0), **facts}))
    assert tracked_metrics(got)["histogram_error"] == got["histogram_error"]


@pytest.mark.parametrize("most_exact", [N, 0])
def test_one_kind_of_images_is_refused(rows: pd.DataFrame, most_exact: int) -> None:
    with pytest.raises(GlowPipelineError, match=r"^9900 in-distribution images and 0 outliers"):
        metrics_of_table(REQUESTED, InPieces(rows[~rows["is_out"]], 777), 0, 3, most_exact)
